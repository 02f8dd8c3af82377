"""The network and its parts, written for one device; how they are spread over devices belongs to
the YAML.
"""
