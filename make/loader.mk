# The compiled JPEG decoder. `setup` depends on $(DECODER); without a compiler the stamp is made all the same, and the
# line printed says which path decodes instead.
DECODER := $(VENV)/.decoder

$(DECODER): $(INSTALLED) webvision/data/decode_window.c webvision/data/build_decoder.py
	@$(PY) -m webvision.data.build_decoder
	@touch $@
