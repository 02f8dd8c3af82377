# One target per stage; each is a line that a person could type. RAY_ADDRESS=… sends the same job to a cluster.
FOOTAGE ?= demo/footage
DATA ?= demo/data
CONFIG ?= configs/curation/demo.yaml
TARGETS ?= configs/curation/targets/published.yaml
CAPTION_CONFIG ?= configs/captioning/demo.yaml
VERIFY_CONFIG ?=
REWRITE_CONFIG ?= configs/captioning/rewrite.yaml
VQA_CONFIG ?= configs/captioning/vqa.yaml
SERVE_CONFIG ?= configs/captioning/ray-serve.yaml
EXPAND_CONFIG ?=
TRAIN_CONFIG ?= configs/training/demo.yaml
RUN ?= demo/run
MODEL ?= Qwen/Qwen3-VL-8B-Instruct
PORT ?= 8100
EACH ?= 10
SIZE ?= small
PYTHON ?= python3
LAST ?= $(RUN)/checkpoints/last.ckpt
PROMPT ?= ["A sailing boat with a white and a red sail crosses a choppy green sea from left to right under a pale, cloudy sky.", "Orange fish with white bands swim to the left over a coral reef. Bubbles rise, and rays of light fall through the blue water.", "Green farmland with a winding river and scattered trees, seen from the air. The camera turns slowly and comes closer while the shadows of clouds pass over the fields.", "Red, orange and yellow leaves fall and tumble in front of a blurred golden autumn wood."]
# as it was typed: $ and quotes are the prompt's own
override PROMPT := $(value PROMPT)
export PROMPT
SAMPLE ?= --frames 5 --height 48 --width 80 --fps 4 --steps 16 --guidance 1.5

PY = .venv/bin/python
ON = --config "$(CONFIG)" --data "$(DATA)" $(if $(OVERLAY),--config "$(OVERLAY)") $(if $(WORKERS),--workers $(WORKERS))
GIVEN = $(if $(filter command line environment,$(origin FOOTAGE)),--footage "$(FOOTAGE)") $(if $(TRUTH),--truth "$(TRUTH)") $(if $(WORKERS),--workers $(WORKERS))
CAPTION_ON = --config "$(CAPTION_CONFIG)" --data "$(DATA)" $(if $(WORKERS),--workers $(WORKERS))
VERIFY_ON = $(if $(VERIFY_CONFIG),--config "$(VERIFY_CONFIG)") --data "$(DATA)" $(if $(WORKERS),--workers $(WORKERS))

# the config of a stage of captioning has a name of its own, since curate takes CONFIG too
ifeq ($(origin CONFIG),command line)
ifneq ($(filter caption rewrite verify vqa,$(MAKECMDGOALS)),)
ifeq ($(filter-out caption rewrite verify vqa review-captions,$(MAKECMDGOALS)),)
$(error CONFIG= is for the stages of curation; these take CAPTION_CONFIG=, REWRITE_CONFIG=, VERIFY_CONFIG= and VQA_CONFIG=)
endif
endif
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-vllm test-vllm-ray curate split aesthetics embed text dedup filter targets caption rewrite verify vqa review-captions bench-captions shard audit train encode sample \
	evaluate serve-vlm serve-vlm-ray bench bench-cuts bench-dedup bench-triage bench-cutting bench-exact bench-packing bench-reader bench-training train-cuts faults prove check format

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17
	@echo; echo "variables: FOOTAGE=$(FOOTAGE) DATA=$(DATA) CONFIG=$(CONFIG) OVERLAY=(another YAML over it) WORKERS=(cores) RAY_ADDRESS="

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -e '.[curation,ocr,captioning,training,demo,dev]'
	touch .venv/.ready

split: .venv/.ready ## raw footage -> clips with measures and keyframes: one decode pass (FOOTAGE=, DATA=)
	$(PY) -m curation split --footage "$(FOOTAGE)" $(ON)

aesthetics: .venv/.ready ## LAION's aesthetic scores of the keyframes
	$(PY) -m curation aesthetics $(ON)

embed: .venv/.ready ## an embedding per clip, for the semantic tier of dedup
	$(PY) -m curation embed $(ON)

text: .venv/.ready ## text on the keyframes, read by RapidOCR
	$(PY) -m curation text $(ON)

dedup: .venv/.ready ## groups of copies: same bytes, same pictures, same meaning
	$(PY) -m curation dedup $(ON)

filter: .venv/.ready ## columns -> verdict and reason, from the thresholds in CONFIG
	$(PY) -m curation filter $(ON)

targets: .venv/.ready ## what each published training recipe would reject of the kept clips (TARGETS=)
	$(PY) -m curation targets $(ON) --config "$(TARGETS)"

caption: .venv/.ready ## captions of the clips that filter kept (CAPTION_CONFIG=)
	$(PY) -m captioning caption $(CAPTION_ON)

rewrite: .venv/.ready ## a short text of every caption, by a language model at an endpoint (REWRITE_CONFIG=)
	$(PY) -m captioning rewrite --config "$(REWRITE_CONFIG)" --data "$(DATA)" $(if $(WORKERS),--workers $(WORKERS))

verify: .venv/.ready ## checks of the captions: wording, language, camera, CLIP similarity (VERIFY_CONFIG=)
	$(PY) -m captioning verify $(VERIFY_ON)

vqa: .venv/.ready ## does the clip show what each field of its caption says, asked of a model (VQA_CONFIG=)
	$(PY) -m captioning vqa --config "$(VQA_CONFIG)" --data "$(DATA)" $(if $(WORKERS),--workers $(WORKERS))

review-captions: .venv/.ready ## $(DATA)/audit/captions.html: frames, every text and its checks, the worst clips first (COUNT=)
	$(PY) -m captioning review --data "$(DATA)" $(if $(COUNT),--count $(COUNT))

shard: .venv/.ready ## cut the kept clips and pack them into WebDataset tars
	$(PY) -m curation shard $(ON)

audit: .venv/.ready ## $(DATA)/audit/index.html: what was kept, what was dropped and why
	$(PY) -m curation audit $(ON)

curate: .venv/.ready ## split, aesthetics, embed, dedup, filter, caption, verify, filter, targets, shard and audit
	$(PY) -m captioning check --caption "$(CAPTION_CONFIG)" $(if $(VERIFY_CONFIG),--verify "$(VERIFY_CONFIG)")
	$(PY) -m curation split aesthetics embed dedup filter --footage "$(FOOTAGE)" $(ON) --config "$(TARGETS)"
	$(PY) -m captioning caption $(CAPTION_ON)
	$(PY) -m captioning verify $(VERIFY_ON)
	$(PY) -m curation filter targets shard audit $(ON) --config "$(TARGETS)"

serve-vlm: .venv-vllm/ready ## start vLLM on 127.0.0.1:$(PORT) in an environment of its own (MODEL=)
	$(PY) -m captioning serve --model "$(MODEL)" --port $(PORT)

serve-vlm-ray: .venv-vllm-ray/ready ## vLLM on the GPUs of a Ray cluster, at one address (SERVE_CONFIG=)
	.venv-vllm-ray/bin/serve run "$(SERVE_CONFIG)"

.venv-vllm-ray/ready: .venv/.ready
	$(PY) -m captioning install --env .venv-vllm-ray --ray

.venv-vllm/ready: .venv/.ready
	$(PY) -m captioning install --env .venv-vllm

# OMP_WAIT_POLICY: threads that spin while they wait take the core from the loader
train: .venv/.ready ## train a video DiT on the shards (TRAIN_CONFIG=, RUN=; RESUME=1 goes on from the last checkpoint)
	OMP_WAIT_POLICY=passive $(PY) -m training fit --config "$(TRAIN_CONFIG)" --data.data "$(DATA)" --trainer.default_root_dir "$(RUN)" $(if $(LATENTS),--data.latents "$(LATENTS)") $(if $(RESUME),--ckpt_path "$(LAST)")

encode: .venv/.ready ## latents and text states of all that TRAIN_CONFIG looks at, which train then reads with LATENTS=auto
	$(PY) -m training encode --config "$(TRAIN_CONFIG)" --data.data "$(DATA)"

sample: .venv/.ready ## PROMPT="…" -> an mp4 and a contact sheet in RUN/samples (EXPAND_CONFIG= has it written out by a language model first)
	$(if $(EXPAND_CONFIG),@test -f "$(LAST)" || { echo "make sample: there is no checkpoint $(LAST); make train writes it (RUN=)" >&2; exit 1; })
	$(if $(EXPAND_CONFIG),PROMPT="$$($(PY) -m captioning expand --config "$(EXPAND_CONFIG)" --prompt="$$PROMPT")" && )$(PY) -m training sample --config "$(TRAIN_CONFIG)" --ckpt "$(LAST)" --prompt="$$PROMPT" --output "$(RUN)/samples" $(SAMPLE)

evaluate: .venv/.ready ## loss per timestep of the last checkpoint, with fixed noise
	$(PY) -m training validate --config "$(TRAIN_CONFIG)" --data.data "$(DATA)" --trainer.default_root_dir "$(RUN)" --ckpt_path "$(LAST)"

bench: .venv/.ready ## CPU seconds of the one pass / of bare decoding, side by side (of a corpus that it makes, or FOOTAGE=; needs ffmpeg)
	$(PY) -m curation bench $(GIVEN)

bench-cuts: .venv/.ready ## shots found, beside PySceneDetect and TransNetV2, on an edit that it makes (and FOOTAGE=, TRUTH=)
	$(PY) -m curation bench-cuts $(GIVEN)

bench-dedup: .venv/.ready ## copies found among re-encodes that it makes (FOOTAGE=, TRUTH=), and among NUM= made-up clips
	$(PY) -m curation bench-dedup $(GIVEN) $(if $(NUM),--num $(NUM))

bench-triage: .venv/.ready ## what a first look saves and loses (of films that it makes, or FOOTAGE=; needs ffmpeg)
	$(PY) -m curation bench-triage --config configs/curation/default.yaml --config configs/curation/triage.yaml $(GIVEN)

bench-cutting: .venv/.ready ## what cutting costs, copied and not (FOOTAGE=; needs ffmpeg)
	$(PY) -m curation bench-cutting $(GIVEN)

bench-exact: .venv/.ready ## clips cut in every mode, read back by every reader (of files that it makes, or FOOTAGE=)
	$(PY) -m curation bench-exact $(GIVEN)

prove: .venv/.ready ## does training learn what captions say: films of which everything is known, and controls that must fail
	OMP_WAIT_POLICY=passive $(PY) -m training.prove

bench-packing: .venv/.ready ## how full packs are and how even devices, beside padding, buckets and first fit (DATA=, or made-up clips)
	$(PY) -m training bench-packing $(if $(filter command line environment,$(origin DATA)),--data "$(DATA)")

bench-reader: .venv/.ready ## samples read per second, beside plain webdataset on the same shards (DATA=)
	$(PY) -m training bench-reader --data "$(DATA)"

bench-training: .venv/.ready ## tokens per second and MFU of the training step on random latents, compiled and not (SIZE=tiny, small or 1b)
	$(PY) -m training bench-training --size $(SIZE)

faults: .venv/.ready ## broken and hostile files made from good ones: what becomes of each (FOOTAGE=, EACH=)
	$(PY) -m curation faults --footage "$(FOOTAGE)" --each $(EACH) $(if $(WORKERS),--workers $(WORKERS))

train-cuts: .venv/.ready ## the weights of the cut network, from unpacked packages named in curation/meters/cuts/training (FOOTAGE=)
	$(PY) -m curation train-cuts $(GIVEN)

demo: .venv/.ready ## the whole story: footage -> shards -> audit -> training -> a sampled video
	$(PY) -m curation demo-footage --footage demo/footage --truth demo/truth.json
	$(MAKE) curate FOOTAGE=demo/footage DATA=demo/data
	$(PY) -m curation demo-report --data demo/data --truth demo/truth.json
	$(MAKE) train DATA=demo/data RUN=demo/run RESUME=$(wildcard demo/run/checkpoints/last.ckpt)
	$(MAKE) sample RUN=demo/run
	@echo; echo "look at demo/data/audit/index.html and demo/run/samples/contact_sheet.png"

test: .venv/.ready ## the tests, on two cores, without a GPU or network
	$(PY) -m pytest -m "not vllm and not slow and not gpu" $(TESTS)

bench-captions: .venv/.ready ## the client's cost at a running server, beside a plain loop (CAPTION_CONFIG=, DATA=)
	$(PY) -m captioning bench --config "$(CAPTION_CONFIG)" --data "$(DATA)"

test-vllm: .venv-vllm/ready ## captions of real clips by a real vLLM server with a tiny model
	DAILIES_REQUIRE_VLLM=1 $(PY) -m pytest -m vllm tests/captioning

test-vllm-ray: .venv-vllm/ready .venv-vllm-ray/ready ## the same behind Ray Serve, in 4 GB and 3 minutes more
	$(PY) -m pytest -m vllm tests/captioning/test_vllm_ray_serve.py

check: .venv/.ready ## lint, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

format: .venv/.ready ## put the code into the project's format
	.venv/bin/ruff check --fix-only --quiet .
	.venv/bin/ruff format .
