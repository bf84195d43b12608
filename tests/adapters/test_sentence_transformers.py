"""The miner with sentence-transformers' interface: against plain loops, and against theirs where it is installed."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections import defaultdict

import numpy as np
import pytest
from helpers.frameworks import NumPy, Torch
from helpers.requirements import missing, need

from hashneg.adapters.sentence_transformers import mine_hard_negatives

D = 16
RNG = np.random.default_rng(3)
CENTERS = RNG.standard_normal((12, 1, D))
TEXTS = [f"t{i}" for i in range(96)]
QUERIES = [f"q{i}" for i in range(40)]
VECTORS = dict(zip(TEXTS, (CENTERS + 0.6 * RNG.standard_normal((12, 8, D))).reshape(-1, D), strict=True))
ANSWERS = RNG.permutation(96)[:40]
for query, answer in zip(QUERIES, ANSWERS, strict=True):
    VECTORS[query] = VECTORS[f"t{answer}"] + 0.4 * RNG.standard_normal(D)
VECTORS = {text: (v / np.linalg.norm(v)).astype(np.float32) for text, v in VECTORS.items()}


class Model:
    """What both miners need of a model whose texts have known vectors."""

    device, similarity_fn_name = "cpu", "cosine"

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def encode_document(self, texts, **options):
        self.calls.append((list(texts), options))
        return np.stack([VECTORS[text] for text in texts])

    encode_query = encode_document

    def similarity(self, a, b):
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        import torch

        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(1)


class CrossEncoder:
    """Scores that have little to do with the vectors."""

    def predict(self, pairs, **options):
        scores = np.array([(0.618034 * int(a[1:]) + 0.414214 * int(b[1:])) % 1 for a, b in pairs], np.float32)
        if options.get("convert_to_tensor"):
            import torch

            return torch.from_numpy(scores)
        return scores


def pairs() -> dict[str, list[str]]:
    """Some queries have two positives, one pair comes twice, some texts answer several queries."""
    queries = [*QUERIES, *QUERIES[:8], QUERIES[3]]
    return {"query": queries, "answer": [f"t{i}" for i in [*ANSWERS, *(ANSWERS[:8] + 1) % 96, ANSWERS[3]]]}


def reference(options: dict) -> dict[str, list[tuple[str, float]]]:
    """The negatives of every query with their scores, by plain loops over all pairs."""
    data, k = pairs(), options.get("num_negatives", 3)
    answers = defaultdict(list)
    for query, answer in zip(data["query"], data["answer"], strict=True):
        answers[query].append(answer)
    most = max(len(own) for own in answers.values())
    low = options.get("range_min", 0)
    cross = options.get("cross_encoder")
    limits = {name: options.get(name) for name in ("absolute_margin", "relative_margin", "max_score", "min_score")}
    widened = any(limits[name] is not None for name in list(limits)[:3]) or (cross and limits["min_score"] is not None)
    high = options.get("range_max") or low + (10 * k if widened else k) + most
    corpus = list(dict.fromkeys([*(options.get("corpus") or []), *data["answer"]]))
    found = {}
    for query, own in answers.items():
        cosine = {text: float(VECTORS[query] @ VECTORS[text]) for text in corpus}
        pool = sorted(corpus, key=lambda text: -cosine[text])[: high + most]
        score = cosine
        if cross and any(limit is not None for limit in limits.values()):
            score = {text: float(cross.predict([(query, text)])[0]) for text in corpus}
        if not options.get("include_positives"):
            pool = [text for text in pool if text not in own]
        pos = min(score[text] for text in own)
        if limits["absolute_margin"] is not None:
            pool = [text for text in pool if score[text] + limits["absolute_margin"] <= pos]
        if limits["relative_margin"] is not None:
            pool = [text for text in pool if score[text] <= pos - abs(pos) * limits["relative_margin"]]
        if limits["max_score"] is not None:
            pool = [text for text in pool if score[text] <= limits["max_score"]]
        if limits["min_score"] is not None:
            pool = [text for text in pool if score[text] >= limits["min_score"]]
        pool = sorted(pool, key=lambda text: (-score[text], corpus.index(text)))[low:high]
        found[query] = [(text, score[text]) for text in pool]
    return found


OPTIONS = [
    {},
    {"corpus": TEXTS, "num_negatives": 5, "range_min": 2},
    {"corpus": TEXTS, "range_max": 9, "relative_margin": 0.1},
    {"corpus": TEXTS, "absolute_margin": 0.05, "max_score": 0.7, "min_score": 0.2, "num_negatives": 2},
    {"corpus": TEXTS, "range_min": 3, "range_max": 30, "relative_margin": 0.2},
    {"corpus": TEXTS, "include_positives": True, "num_negatives": 6},
    {"num_negatives": 60},
    {"corpus": TEXTS, "cross_encoder": CrossEncoder(), "min_score": 0.3},
    {"corpus": TEXTS, "cross_encoder": CrossEncoder(), "absolute_margin": 0.1},
]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_negatives_are_those_of_plain_loops(number):
    """With a pool as deep as the corpus; the binary codes then lose nothing."""
    options = OPTIONS[number]
    found = reference(options)
    k = options.get("num_negatives", 3)
    data = mine_hard_negatives(
        pairs(), Model(), output_format="labeled-pair", output_scores=True, rerank=200, quantizer=64, verbose=False,
        **options | {"include_positives": False},
    )  # fmt: skip
    if options.get("include_positives"):
        data = mine_hard_negatives(pairs(), Model(), output_scores=True, rerank=200, verbose=False, **options)
        assert len(data["query"]) == 48
        for row, query in enumerate(data["query"]):
            assert [data[f"negative_{i + 1}"][row] for i in range(k)] == [text for text, _ in found[query][:k]]
        return
    mined = defaultdict(list)
    answers = set(zip(pairs()["query"], pairs()["answer"], strict=True))
    for query, text, score in zip(data["query"], data["answer"], data["score"], strict=True):
        if (query, text) not in answers:
            mined[query].append((text, score))
    for query, wanted in found.items():
        assert [text for text, _ in mined[query]] == [text for text, _ in wanted[:k]]
        np.testing.assert_allclose([s for _, s in mined[query]], [s for _, s in wanted[:k]], atol=1e-6)


def test_formats_say_the_same():
    options = {"corpus": TEXTS, "relative_margin": 0.25, "range_max": 7, "output_scores": True, "verbose": False}
    kinds = {
        kind: mine_hard_negatives(pairs(), Model(), output_format=kind, **options)
        for kind in ("triplet", "n-tuple", "labeled-pair", "labeled-list")
    }
    assert {kind: list(data) for kind, data in kinds.items()} == {
        "triplet": ["query", "answer", "negative", "scores"],
        "n-tuple": ["query", "answer", "negative_1", "negative_2", "negative_3", "scores"],
        "labeled-pair": ["query", "answer", "score"],
        "labeled-list": ["query", "answer", "scores"],
    }
    triplets = defaultdict(list)
    for query, answer, negative, (own, score) in zip(*kinds["triplet"].values(), strict=True):
        triplets[query, answer].append((negative, own, score))
        assert own >= score
    assert {len(rows) for rows in triplets.values()} >= {2, 3}  # the margin leaves some of them short
    wanted = [(*pair, *(n for n, _, _ in rows), [rows[0][1], *(s for _, _, s in rows)])
              for pair, rows in triplets.items() if len(rows) == 3]  # fmt: skip
    assert list(zip(*kinds["n-tuple"].values(), strict=True)) == wanted
    lists = [(query, [answer, *(n for n, _, _ in rows)], [rows[0][1], *(s for _, _, s in rows)])
             for (query, answer), rows in triplets.items()]  # fmt: skip
    assert list(zip(*kinds["labeled-list"].values(), strict=True)) == lists
    listed = set(zip(*kinds["labeled-pair"].values(), strict=True))
    assert listed >= {(query, n, s) for (query, _), rows in triplets.items() for n, _, s in rows}
    assert {(q, a) for q, a, _ in listed} >= set(triplets)
    labels = mine_hard_negatives(pairs(), Model(), output_format="labeled-pair", **options | {"output_scores": False})
    answers = set(zip(pairs()["query"], pairs()["answer"], strict=True))
    assert [(pair in answers) for pair in zip(labels["query"], labels["answer"], strict=True)] == labels["label"]


def test_random_negatives_are_drawn_by_the_seed_from_the_window():
    state = random.getstate()
    options = {"corpus": TEXTS, "range_min": 2, "range_max": 20, "sampling_strategy": "random", "verbose": False}
    window = reference({key: options[key] for key in ("corpus", "range_min", "range_max")})
    drawn = [mine_hard_negatives(pairs(), Model(), seed=seed, rerank=200, **options) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == state
    by_query = defaultdict(list)
    for query, negative in zip(drawn[0]["query"], drawn[0]["negative"], strict=True):
        by_query[query].append(negative)
    for query, negatives in by_query.items():
        places = [[text for text, _ in window[query]].index(negative) for negative in negatives[:3]]
        assert places == sorted(set(places))
    assert any(negatives[0] != window[query][0][0] for query, negatives in by_query.items())


@pytest.mark.parametrize("with_corpus", [False, True])
@pytest.mark.parametrize("kind", [NumPy, Torch])
def test_embeddings_in_the_place_of_a_model(kind, with_corpus):
    framework = kind()
    data, options = pairs(), {"corpus": TEXTS} if with_corpus else {}
    sides = [data["query"], data["answer"], *([TEXTS] if with_corpus else [])]
    embeddings = tuple(framework.array(5 * np.stack([VECTORS[text] for text in side])) for side in sides)
    assert mine_hard_negatives(data, embeddings, verbose=False, **options) == mine_hard_negatives(
        data, Model(), verbose=False, **options
    )


def test_a_model_gets_each_text_once_and_its_prompts():
    model = Model()
    mine_hard_negatives(pairs(), model, query_prompt="find: ", corpus_prompt_name="text", batch_size=7, verbose=False)
    (texts, documents), (queries, options) = model.calls
    assert len(texts) == len(set(texts))
    assert queries == QUERIES
    assert (documents["prompt_name"], options["prompt"], options["batch_size"]) == ("text", "find: ", 7)
    assert options["normalize_embeddings"]


def test_a_cache_tells_models_apart_by_their_weights(tmp_path):
    class Trained(Model):
        weights = np.zeros(3, np.float32)

        def state_dict(self):
            torch = need("torch")
            return {"weights": torch.from_numpy(self.weights)}

        def __repr__(self):
            return "Trained"

    model = Trained()
    options = {"cache_folder": tmp_path / "cache", "verbose": False}
    first = mine_hard_negatives(pairs(), model, **options)
    assert len(model.calls) == 2
    assert mine_hard_negatives(pairs(), Trained(), **options) == first
    again = Trained()
    mine_hard_negatives(pairs(), again, **options)
    assert not again.calls
    again.weights = np.ones(3, np.float32)
    mine_hard_negatives(pairs(), again, **options)
    mine_hard_negatives(pairs(), again, query_prompt="find: ", **options)
    assert len(again.calls) == 3
    with pytest.raises(ValueError, match="state_dict"):
        mine_hard_negatives(pairs(), Model(), **options)


def test_a_report_and_deprecated_names(capsys):
    data = mine_hard_negatives(pairs(), Model(), relative_margin=0.2)
    printed = capsys.readouterr().out
    assert f"{len({*zip(data['query'], data['negative'], strict=True)}):,} of {3 * 40}" in printed
    assert "removed by relative_margin" in printed
    with pytest.warns(FutureWarning, match="margin"):
        old = mine_hard_negatives(pairs(), Model(), margin=0.1, verbose=False)
    assert old == mine_hard_negatives(pairs(), Model(), absolute_margin=0.1, verbose=False)
    with pytest.warns(FutureWarning, match="as_triplets"):
        assert "negative_3" in mine_hard_negatives(pairs(), Model(), as_triplets=False, verbose=False)
    with pytest.warns(FutureWarning, match="n-tuple-scores"):
        assert "scores" in mine_hard_negatives(pairs(), Model(), output_format="n-tuple-scores", verbose=False)


def test_wrong_arguments_are_refused():
    for change, error, words in [
        ({"num_negatives": 0}, ValueError, "num_negatives"),
        ({"range_min": -1}, ValueError, "range_min"),
        ({"range_min": 3, "range_max": 5}, ValueError, "fewer ranks"),
        ({"output_format": "pairs"}, ValueError, "output_format"),
        ({"sampling_strategy": "best"}, ValueError, "sampling_strategy"),
        ({"positive_column_name": "text"}, ValueError, "'text'"),
        ({"rerank": 0}, ValueError, "rerank"),
        ({"model": (np.ones((3, 2)), np.ones((3, 2)))}, ValueError, "49 texts"),
        ({"model": (np.ones((49, 2)),)}, ValueError, "tuple"),
        ({"dataset": {"query": [], "answer": []}}, ValueError, "empty"),
        ({"dataset": {"query": ["a"]}}, ValueError, "column"),
    ]:
        with pytest.raises(error, match=words):
            mine_hard_negatives(**{"dataset": pairs(), "model": Model(), "verbose": False} | change)
    model = Model()
    model.similarity_fn_name = "euclidean"
    with pytest.raises(ValueError, match="euclidean"):
        mine_hard_negatives(pairs(), model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["triplet", "n-tuple", "labeled-pair", "labeled-list"])
def test_sentence_transformers_gives_the_same_rows(kind):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from datasets import Dataset
            from sentence_transformers.util import mine_hard_negatives as theirs
    except ModuleNotFoundError as error:
        missing(f"{error.name} is not installed", excused=True)
    for options in OPTIONS:
        for with_scores in (False, True):
            call = {"output_format": kind, "output_scores": with_scores, "verbose": False, **options}
            dataset = Dataset.from_dict(pairs())
            with contextlib.redirect_stderr(io.StringIO()):
                wanted = theirs(dataset, Model(), **call)
            mined = mine_hard_negatives(dataset, Model(), rerank=200, **call)
            assert mined.column_names == wanted.column_names
            for name in wanted.column_names:
                got, want = mined[name], wanted[name]
                if name.startswith("score"):
                    for a, b in zip(got, want, strict=True):
                        np.testing.assert_allclose(a, b, atol=1e-6)
                else:
                    assert list(got) == list(want)
