"""KerasHub models in the form in which transformers and vLLM load them: config.json, safetensors, tokenizer.json."""
