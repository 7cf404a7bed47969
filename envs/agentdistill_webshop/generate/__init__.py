"""A catalogue made here: realistic products, options, prices and instructions, in the schema of the original files."""

from agentdistill_webshop.generate.rows import GeneratedRows

__all__ = ["GeneratedRows"]
