"""Playlists, concat scripts and reference movies: small texts that name other files and hosts."""


def playlists(secret: str, url: str) -> dict[str, bytes]:
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    texts = {
        "hls of a file.mp4": hls.format(secret),
        "hls of a url.mp4": hls.format(url),
        "hls with a key.mp4": hls.replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF'
        ).format(secret),
        "master hls.mp4": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat of a url.mp4": f"ffconcat version 1.0\nfile '{url}'\n",
        "dash.mp4": dash.format(url),
        "session.mp4": sdp,
        "reference.mov": f"RTSPtext\n{url}\n",
        "list.asf": f"[Reference]\nRef1={url}\n",
    }
    return {name: text.encode() for name, text in texts.items()}
