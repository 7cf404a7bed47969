"""Keeps other libraries' bars away from our own."""

from __future__ import annotations


def quiet_loading() -> None:
    """Turns off the bars that transformers draws while it reads or writes weights; downloads keep theirs."""
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    enable_progress_bars()
