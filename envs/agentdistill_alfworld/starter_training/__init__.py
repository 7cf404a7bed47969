"""How the starter models are made: their tokenizer, their data, their training, their measurement."""
