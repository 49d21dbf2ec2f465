"""BodyCLIP's tokenizer: lower-cased whole words where the vocabulary has them, pieces of words where not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# The id of the end token must not be 2: CLIPTextModel reads that id as a legacy configuration.
SPECIAL_TOKENS: tuple[str, ...] = ("<pad>", "<start>", "<unknown>", "<end>")
CONTINUED = "##"  # marks pieces that go on within a word
PAD_ID, START_ID, UNKNOWN_ID, END_ID = range(4)


def build_tokenizer(tokens: Sequence[str], context: int) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer.

    Args:
        tokens: the vocabulary after SPECIAL_TOKENS: words, and pieces that begin with CONTINUED.
        context: tokens a text at most, start and end included.
    """
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *tokens))}
    unknown = SPECIAL_TOKENS[UNKNOWN_ID]
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix=CONTINUED))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|\d|[^\s\w]|\w+"), "removed", invert=True)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL_TOKENS[START_ID]} $A {SPECIAL_TOKENS[END_ID]}",
        special_tokens=[(SPECIAL_TOKENS[START_ID], START_ID), (SPECIAL_TOKENS[END_ID], END_ID)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        pad_token=SPECIAL_TOKENS[PAD_ID],
        bos_token=SPECIAL_TOKENS[START_ID],
        unk_token=SPECIAL_TOKENS[UNKNOWN_ID],
        eos_token=SPECIAL_TOKENS[END_ID],
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and a tokenizer_config.json that older and newer versions of transformers read alike."""
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    names = zip(("pad_token", "bos_token", "unk_token", "eos_token"), SPECIAL_TOKENS)
    facts = dict(names) | {
        "model_max_length": tokenizer.model_max_length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
