"""Trains BodyCLIP's tokenizer: lower-cased BPE over the grammar's captions and the words of its tables."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# The id of the end token must not be 2: CLIPTextModel reads that id as a legacy configuration.
SPECIAL_TOKENS: tuple[str, ...] = ("<pad>", "<start>", "<unknown>", "<end>")
WORD_END = "</w>"
PAD_ID, START_ID, UNKNOWN_ID, END_ID = range(4)


def train_tokenizer(texts: Iterable[str], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """Train a BPE tokenizer; unknown words fall apart into pieces and letters, so nothing crashes it.

    The merges are learned here and not by the tokenizers package, whose order among equally frequent pairs differs
    from run to run.

    Args:
        texts: captions and word lists.
        vocab_size: tokens at most.
        context: tokens a text at most, start and end included.
    """
    normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    splitter = pre_tokenizers.Split(Regex(r"[a-z]+|\d|[^\s\w]|\w+"), "removed", invert=True)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*SPECIAL_TOKENS, *letters, *(letter + WORD_END for letter in letters)]
    merges = learn_merges(words, vocab_size - len(tokens))
    tokens += dict.fromkeys(left + right for left, right in merges)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    unknown = SPECIAL_TOKENS[UNKNOWN_ID]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, end_of_word_suffix=WORD_END))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
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


def learn_merges(words: Counter[str], count: int) -> list[tuple[str, str]]:
    """Return up to `count` byte-pair merges for words and their frequencies, the most frequent pair first.

    Pairs of equal frequency come in alphabetical order; a pair seen once is not merged. Source: Sennrich et al. 2016,
    "Neural machine translation of rare words with subword units".
    """
    pieces = {word: [*word[:-1], word[-1] + WORD_END] for word in sorted(words) if word.isascii()}
    merges: list[tuple[str, str]] = []
    pairs: Counter[tuple[str, str]] = Counter()
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)

    def count_pairs(word: str, sign: int) -> None:
        for pair in pairwise(pieces[word]):
            pairs[pair] += sign * words[word]
            holders[pair].add(word)

    for word in pieces:
        count_pairs(word, 1)
    while len(merges) < count and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in holders.pop(best):
            count_pairs(word, -1)
            pieces[word] = _merge(pieces[word], best)
            count_pairs(word, 1)
        del pairs[best]
    return merges


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and a tokenizer_config.json that older and newer versions of transformers read alike."""
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    names = zip(("pad_token", "bos_token", "unk_token", "eos_token"), SPECIAL_TOKENS)
    facts = dict(names) | {
        "model_max_length": tokenizer.model_max_length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
