"""BodyCLIP's vocabulary: whole words where it has them, and alike words close together."""

import pytest
import torch
from transformers import BertConfig, BertModel

from avatar_core.errors import WeightsError
from avatar_core.training.bodyclip_tokenizer import build_tokenizer
from avatar_core.training.word_vectors import choose_tokens, embed_tokens, make_words, project, read_words

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_VOCABULARY = [*_SPECIAL, "a", "##a", "red", "shirt", "the", "##ing", "##ed", "ü", "42", "7", "!"]


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory):
    """A small random model of BERT's kind with its tokenizer."""
    folder = tmp_path_factory.mktemp("sentence")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(_VOCABULARY), **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(_VOCABULARY) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    return folder


def test_the_most_frequent_words_are_kept_and_all_single_characters():
    vocabulary = {token: index for index, token in enumerate(_VOCABULARY)}
    assert choose_tokens(vocabulary, 2, 1) == ["a", "##a", "7", "!", "red", "shirt", "##ing"]


def test_words_are_one_token_and_others_pieces():
    tokenizer = build_tokenizer(["a", "red", "shirt", "##s", "-", "t"], 12)
    assert tokenizer.tokenize("A Réd T-shirts") == ["a", "red", "t", "-", "shirt", "##s"]
    assert tokenizer("a red shirt")["input_ids"] == [1, 4, 5, 6, 3]
    assert tokenizer.tokenize("🤖") == ["<unknown>"]


def test_projection_keeps_who_is_near_whom():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 40, generator=generator).repeat_interleave(5, 0)
    vectors = torch.nn.functional.normalize(centres + 0.1 * torch.randn(50, 40, generator=generator), dim=1)
    found = torch.nn.functional.normalize(project(vectors, 16), dim=1)
    nearest = (found @ found.mT - 2 * torch.eye(50)).argmax(1)
    assert (nearest // 5 == torch.arange(50) // 5).all()


def test_a_vocabulary_is_written_and_read_back(sentence_model, tmp_path):
    make_words(str(sentence_model), tmp_path, width=4, context=16, words=5, pieces=2)
    tokenizer, vectors = read_words(tmp_path)
    assert vectors.shape == (len(tokenizer), 4)
    assert torch.isfinite(vectors).all()
    assert tokenizer.tokenize("the red trousers") == ["the", "red", "trousers"]  # the grammar's words are added


def test_each_token_has_the_vector_it_has_alone(sentence_model):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(sentence_model).eval()
    tokenizer = AutoTokenizer.from_pretrained(sentence_model)
    together = embed_tokens(model, tokenizer, ["red", "##ing", "shirt"])
    torch.testing.assert_close(embed_tokens(model, tokenizer, ["shirt"])[0], together[2])


def test_a_folder_without_a_vocabulary_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="holds no vocabulary"):
        read_words(tmp_path)
