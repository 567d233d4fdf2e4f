"""Counterfactuals made elsewhere, read from files: judged exactly as stored, or refused in one line with the reason."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, composed, results, run_command, table
from test_methods import world

from cftransfer import FeatureSpace, InputError, judge, search
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.jobs.write import packed
from cftransfer.store.searched import check_search, run_search, searched

COMPAS = ["training.epochs=3", "replicates.bases=2", "replicates.references=3", "samples=60"]
GONE = ("iterations", "status", "transferred_relaxed", "relaxed", "found_relaxed", "distance_l2_relaxed")


def settings_of(path, units="unit", index=None, **changes):
    return {
        "_target_": "imported", "constraints": "possible", "path": str(path), "units": units, "index": index, **changes,
    }  # fmt: skip


def run(store, *words):
    return experiment.run(plan_of(composed(*words, f"paths.store={store}")))


@pytest.fixture(scope="module", params=["compas", "moons"])
def job(request, tmp_path_factory):
    """A job of a gradient search, and its words but for the search."""
    words = COMPAS if request.param == "compas" else [*SMALL, "training.epochs=15"]
    folder = tmp_path_factory.mktemp(request.param)
    return folder, words, run(folder / "store", *words)


def exported(job, space=None):
    """The job's candidates on each base: (n, columns) in [0, 1], or with a space in original units."""
    found = job.tables["counterfactuals"]
    every = [np.stack(some.counterfactual) for _, some in found.groupby("base")]
    return every if space is None else [space.decode(points) for points in every]


def write(path, points, space):
    """Points in [0, 1] in a file of any kind."""
    if path.suffix in (".npy", ".npz"):
        (np.save if path.suffix == ".npy" else np.savez)(path, points)
        return
    frame = pd.DataFrame(points, columns=space.columns)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)


def read(job, name):
    """A table of a job, as its reader has it."""
    return packed(job.tables[name]).to_pandas()


def importing(path, units="unit", index="null"):
    return [
        "counterfactual=imported", f'counterfactual.path="{path}"', f"counterfactual.units={units}",
        f"counterfactual.index={index}",
    ]  # fmt: skip


def assert_same(ours, theirs, *, exact=True):
    """The same found, distances and rates; columns of a search alone (steps, points before projection) are gone."""
    for name in ("counterfactuals", "transfers", "pairs", "holds"):
        one, other = (read(job, name).drop(columns=[*GONE], errors="ignore") for job in (ours, theirs))
        if name == "counterfactuals" and not exact:
            one, other = (some.drop(columns=["x", "counterfactual"]) for some in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=exact, **({} if exact else {"atol": 1e-4, "rtol": 1e-3}))
    for metric in ("rate", "rate_low", "found", "distance_l2", "agreement", "control_random", "n_tried", "n_found"):
        assert ours.metrics[metric] == pytest.approx(theirs.metrics[metric], abs=0 if exact else 1e-4)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".csv"])
def test_what_a_job_found_imported_again_gives_the_job_again(job, suffix):
    folder, words, theirs = job
    space = plan_of(composed(*words, f"paths.store={folder}")).dataset.space
    for base, points in enumerate(exported(theirs)):
        write(folder / f"made_{base}{suffix}", points, space)
    again = run(folder / "store", *words, *importing(folder / f"made_{{base}}{suffix}"))
    assert_same(again, theirs)
    assert "proposal" not in again.tables["counterfactuals"]
    assert "n_proposals" not in again.metrics
    assert again.metrics["iterations"] == 0


def test_shuffled_rows_with_an_index_are_the_same(job):
    folder, words, theirs = job
    space = plan_of(composed(*words, f"paths.store={folder}")).dataset.space
    for base, points in enumerate(exported(theirs)):
        frame = pd.DataFrame(points, columns=space.columns).assign(person=range(len(points)))
        frame.sample(frac=1, random_state=base).to_parquet(folder / f"shuffled_{base}.parquet")
    # the frame's own index is one that pandas writes along; it has to be taken out
    with pytest.raises(InputError, match="has the column 'index', no feature"):
        run(folder / "store", *words, *importing(folder / "shuffled_{base}.parquet", index="person"))
    for base in range(len(exported(theirs))):
        path = folder / f"shuffled_{base}.parquet"
        pd.read_parquet(path).to_parquet(path, index=False)
    assert_same(run(folder / "store", *words, *importing(folder / "shuffled_{base}.parquet", index="person")), theirs)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_original_units_are_the_same_within_rounding(job, suffix):
    folder, words, theirs = job
    space = plan_of(composed(*words, f"paths.store={folder}")).dataset.space
    for base, frame in enumerate(exported(theirs, space)):
        path, turned = folder / f"original_{base}{suffix}", frame[frame.columns[::-1]]  # columns go by their names
        turned.to_csv(path, index=False) if suffix == ".csv" else turned.to_parquet(path)
    assert_same(
        run(folder / "store", *words, *importing(folder / f"original_{{base}}{suffix}", "original")),
        theirs,
        exact=False,
    )


def test_several_or_none_per_factual_and_every_factual_counts_once(tmp_path):
    words = [*SMALL, "training.epochs=15", "replicates.bases=1"]
    theirs = run(tmp_path, *words)
    ((points,), n) = exported(theirs), 40
    found = theirs.tables["counterfactuals"].found.to_numpy()
    kept = np.flatnonzero(found)[:9]
    pushed = points[kept[:2]] * 0.999 + 0.0005
    rows = np.concatenate([points[kept], points[kept[:2]], points[kept[:1]], pushed])
    of = np.concatenate([kept, kept[:2], kept[:1], kept[:2]])
    np.savez(tmp_path / "made.npz", counterfactual=rows, of=of)
    job = run(tmp_path, *words, *importing(tmp_path / "made.npz", index="of"))
    table, transfers = job.tables["counterfactuals"], job.tables["transfers"].to_pandas()
    assert table.factual.tolist() == sorted([*of, *(set(range(n)) - set(of))])
    assert set(table[~table.factual.isin(of)].status) == {"not_found"}
    first = table[table.factual == kept[0]]
    assert first.proposal.tolist() == [0, 1, 2, 3]
    assert job.metrics["found"] == len(kept) / n
    assert job.metrics["n_found"] == len(kept)
    assert job.metrics["n_searched"] == n
    assert job.metrics["n_proposals"] == table.found.sum() > len(kept)
    assert job.metrics["n_tried"] == len(kept) * 3
    asked = transfers[transfers.found].assign(transferred=transfers.transferred.astype(float))
    once = asked.groupby(["base", "reference", "factual"]).transferred.mean()
    rates = once.groupby(["base", "reference"]).mean()
    np.testing.assert_allclose(job.tables["pairs"].rate, rates)
    assert job.metrics["rate"] == pytest.approx(rates.mean())
    assert job.tables["survivorship"].rate.tolist() == pytest.approx([job.metrics["rate"]])
    assert job.tables["survivorship"].found.tolist() == [job.metrics["found"]]
    lengths = table[table.found].groupby("factual").distance_l2.mean()
    assert job.metrics["distance_l2"] == pytest.approx(lengths.mean())
    assert len(job.tables["holds"]) == table.found.sum()
    assert {"proposal"} <= set(job.tables["holds"]) & set(job.tables["extremes"]) & set(job.tables["examples"])


def test_the_same_proposal_three_times_is_the_proposal_once(tmp_path):
    words = [*SMALL, "training.epochs=15"]
    theirs = run(tmp_path, *words)
    for base, points in enumerate(exported(theirs)):
        many = 1 + np.arange(len(points)) % 3
        of = np.repeat(np.arange(len(points)), many)
        np.savez(tmp_path / f"made_{base}.npz", counterfactual=points[of], of=of)
    job = run(tmp_path, *words, *importing(tmp_path / "made_{base}.npz", index="of"))
    skipped = {"iterations", "found_relaxed", "distance_l2_relaxed", "rate_relaxed"}
    for name, value in theirs.metrics.items():
        if name not in skipped and "random" not in name and not isinstance(value, str):
            assert job.metrics[name] == pytest.approx(value, nan_ok=True), name
    assert job.metrics["interval"] == theirs.metrics["interval"]


@pytest.mark.slow
def test_a_file_with_other_content_is_never_served_from_the_store(tmp_path):
    words = [*SMALL, "replicates.bases=1", "wandb=disabled", "hydra.run.dir=job", "counterfactual=imported"]
    words += ["counterfactual.path=made.npy", "counterfactual.units=unit"]
    seen = []
    for value in (0.2, 0.8, 0.2):
        np.save(tmp_path / "made.npy", np.full((40, 2), value))
        done = run_command(tmp_path, "transfer.py", *words)
        assert done.returncode == 0, done.stderr
        (result,) = results(tmp_path)
        seen.append((result["counterfactuals"], result["data"]["imported"]))
        assert np.stack(table(tmp_path, "counterfactuals").counterfactual).max() == np.float32(value)
    assert seen[0] == seen[2] != seen[1]
    assert seen[0][0] != seen[1][0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "made.npy").rename(tmp_path / "elsewhere" / "made.npy")
    moved = [word.replace("made.npy", "elsewhere/made.npy") for word in words]
    assert run_command(tmp_path, "transfer.py", *moved).returncode == 0
    (result,) = results(tmp_path)
    assert result["counterfactuals"] == seen[2][0]  # the content counts, wherever the file lies


def test_a_file_that_changes_while_it_is_read_ends_the_job(tmp_path, moons, base_spec, monkeypatch):
    import cftransfer.counterfactuals.imported as method

    np.save(tmp_path / "made.npy", np.full((5, 2), 0.5))
    read = method.read_proposals

    def changing(path, **options):
        np.save(tmp_path / "made.npy", np.full((5, 2), 0.6))
        return read(path, **options)

    monkeypatch.setattr(method, "read_proposals", changing)
    ask = {"spec": base_spec, "settings": settings_of(tmp_path / "made.npy"), "samples": 5, "dataset": moons}
    with pytest.raises(InputError, match="changed while it was read"):
        searched([lambda x: x.sum(1) - 1], [0], **ask, store=tmp_path, generating=lambda *_: [])
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("units", ["unit", "original"])
def test_every_kind_of_feature_comes_back(units, tmp_path):
    """As in test_methods.py: possible points stay as they are, and are judged as by hand."""
    for seed in range(5):
        data, (model, *_) = world(seed)
        x = data.x_test[:7]
        points = data.x_train[:7]
        frame = (
            data.space.decode(points.numpy())
            if units == "original"
            else pd.DataFrame(points.numpy(), columns=data.space.columns)
        )
        frame.to_parquet(path := tmp_path / "made.parquet")
        found = run_search(model, x, settings=settings_of(path, units), dataset=data)
        torch.testing.assert_close(found.counterfactual, points, atol=1e-5, rtol=0)
        assert found.claimed.all()
        assert found.possible.all()
        other = judge(model, x, found.counterfactual, space=data.space)
        assert torch.equal(found.found, other.found)
        assert torch.equal(found.target, other.target)


def test_among_three_classes_a_point_aims_at_the_class_that_it_reaches(tmp_path):
    data, (model, *_) = world(1, 3)
    np.save(tmp_path / "made.npy", data.x_train[:20].numpy())
    found = run_search(model, data.x_test[:20], settings=settings_of(tmp_path / "made.npy"), dataset=data)
    other = judge(model, data.x_test[:20], data.x_train[:20], space=data.space)
    assert torch.equal(found.target, other.target)
    assert torch.equal(found.found, other.found)
    assert found.found.any()
    one = search(
        model,
        data.x_test[:20],
        space=data.space,
        method="imported",
        target=1,
        path=str(tmp_path / "made.npy"),
        units="unit",
    )
    assert (one.target == 1).all()


def test_a_factual_at_the_end_of_its_range_keeps_what_did_not_change(tmp_path, moons):
    x = torch.tensor([[1.0, 0.2]])
    frame = moons.space.decode(np.array([[1.2, 0.9]], dtype=np.float32))
    frame.to_csv(tmp_path / "made.csv", index=False)
    data = replace(moons, x_test=x)
    found = run_search(
        lambda x: x[:, 1] - 0.5, x, settings=settings_of(tmp_path / "made.csv", "original"), dataset=data
    )
    assert found.counterfactual[0, 0] == 1
    assert found.found.all()
    unit = settings_of(tmp_path / "made.npy")
    np.save(tmp_path / "made.npy", np.array([[1.2, 0.9]]))
    assert run_search(lambda x: x[:, 1] - 0.5, x, settings=unit, dataset=data).status.tolist() == ["not_possible"]


def test_images_are_arrays_of_numbers_or_bytes(tmp_path):
    from cftransfer.data.images import from_images

    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
    split = (pixels, np.arange(6) % 2)
    photos = from_images("photos", train=split, test=split, classes=("no", "yes"), about="")
    x, model = torch.from_numpy(pixels).float() / 255, lambda x: x.flatten(1).mean(1) - 0.5
    np.save(tmp_path / "bytes.npy", pixels[::-1].copy())
    np.save(tmp_path / "unit.npy", pixels[::-1].astype(np.float32) / 255)
    one, other = (
        run_search(model, x, settings=settings_of(tmp_path / f"{name}.npy", units), dataset=photos)
        for name, units in (("bytes", "original"), ("unit", "unit"))
    )
    assert torch.equal(one.counterfactual, other.counterfactual)
    assert torch.equal(one.counterfactual, x.flip(0))
    for name, units, said in (("bytes", "unit", "takes numbers in"), ("unit", "original", "takes an array of bytes")):
        with pytest.raises(InputError, match=said):
            check_search(settings_of(tmp_path / f"{name}.npy", units), photos, model)


def frame_of(space: FeatureSpace, rows=4):
    return pd.DataFrame(
        {f.name: (list(f.categories) * rows)[:rows] if f.categories else [f.low] * rows for f in space.features}
    )


MISTAKES = {
    "column missing": (lambda t: t.drop(columns="age"),
        {}, "has no column 'age'"),
    "column too many": (lambda t: t.assign(id=1),
        {}, "has the column 'id', no feature of the data set"),
    "NaN": (lambda t: t.assign(age=[30, None, None, 40]),
        {}, "column 'age': 2 rows, first row 1, have no value"),
    "words": (lambda t: t.assign(age=["30", "x", "40", "50"]),
        {}, "column 'age': 1 row, first row 1, has no finite number, but 'x'"),
    "infinite": (lambda t: t.assign(age=[30, 40, np.inf, 50]),
        {}, "column 'age': 1 row, first row 2, has no finite number"),
    "category": (lambda t: t.assign(race=["Asian", "Other", "Asian", "Martian"]),
        {}, "column 'race': 1 row, first row 3, has none of"),
    "too few rows": (lambda t: t[:3],
        {}, "has 3 rows for 4 factuals; give one row each, or counterfactual.index=COLUMN"),
    "too many rows": (lambda t: pd.concat([t, t]),
        {}, "has 8 rows for 4 factuals"),
    "no index": (lambda t: t,
        {"index": "person"}, "has no column 'person' (counterfactual.index)"),
    "index between": (lambda t: t.assign(person=[0, 1, 1.5, 2]),
        {"index": "person"}, "column 'person': 1 row, first row 2, has no whole number"),
    "index missing": (lambda t: t.assign(person=[0, 1, None, 2]),
        {"index": "person"}, "column 'person': 1 row, first row 2"),
    "index beyond": (lambda t: t.assign(person=[0, 1, 4, 2]),
        {"index": "person"}, "column 'person': row 2 is of factual 4, and the job has 0 to 3"),
    "index negative": (lambda t: t.assign(person=[0, 1, 3, -1]),
        {"index": "person"}, "column 'person': row 3 is of factual -1"),
    "units of the other": (lambda t: t,
        {"units": "unit"}, "these columns are those of counterfactual.units=original"),
    "units unknown": (lambda t: t,
        {"units": "dollars"}, "counterfactual.units=dollars: must be one of original, unit"),
    "units not said": (lambda t: t,
        {"units": "???"}, "counterfactual.units: is missing; takes original or unit"),
    "path not said": (lambda t: t,
        {"path": "???"}, "counterfactual.path: is missing; takes the path of a file"),
    "index a number": (lambda t: t,
        {"index": 3}, "counterfactual.index=3: must be the name of a column, or null"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("change", "settings", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_file_is_one_line_before_anything_is_trained(change, settings, said, suffix, tmp_path, compas):
    path, made = tmp_path / f"made{suffix}", change(frame_of(compas.space))
    made.to_csv(path, index=False) if suffix == ".csv" else made.reset_index(drop=True).to_parquet(path)
    asked = settings_of(path, "original") | settings
    with pytest.raises(InputError) as raised:
        check_search(asked, compas, lambda x: x.sum(1), samples=4)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    if not settings.keys() & {"path", "units"} and "index a" not in said and settings.get("index") != 3:
        assert str(raised.value).startswith(f"counterfactual.path={path}: ")


def test_files_that_are_none_are_one_line(tmp_path, compas):
    (tmp_path / "words.parquet").write_text("no table")
    (tmp_path / "words.npy").write_text("no array")
    (tmp_path / "words.npz").write_text("no arrays")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "made.txt").write_text("1,2")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "narrow.npy", np.zeros((4, 13)))
    np.save(tmp_path / "words2.npy", np.full((4, 14), "a"))
    np.save(tmp_path / "nan.npy", np.where(np.arange(56).reshape(4, 14) == 20, np.nan, 0.5))
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 14)), b=[1])
    np.savez(tmp_path / "short.npz", counterfactual=np.zeros((4, 14)), of=[1, 2])
    for name, said in {
        "absent.npy": "cannot be read",
        "words.parquet": "cannot be read",
        "words.npy": "cannot be read",
        "words.npz": "cannot be read",
        "empty.csv": "cannot be read",
        "objects.npy": "cannot be read",
        "made.txt": "takes a file that ends in .parquet, .csv, .npy, .npz",
        "narrow.npy": "has an array of shape (4, 13); takes (rows, 14)",
        "words2.npy": "takes numbers in [0, 1]",
        "nan.npy": "column 6 (c_charge_degree): 1 row, first row 1, has no finite number",
        "two.npz": "has the arrays a, b; name the points 'counterfactual'",
    }.items():
        with pytest.raises(InputError) as raised:
            check_search(settings_of(tmp_path / name), compas, lambda x: x.sum(1), samples=4)
        assert str(raised.value).startswith(f"counterfactual.path={tmp_path / name}: "), name
        assert said in str(raised.value), name
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="array 'of' has 2 numbers for 4 points"):
        check_search(settings_of(tmp_path / "short.npz", index="of"), compas, lambda x: x.sum(1), samples=4)


@pytest.mark.slow
def test_the_command_says_what_is_missing_and_reads_files_from_where_it_is_run(tmp_path):
    words = ["transfer.py", *SMALL, "wandb=disabled", "counterfactual=imported"]
    done = run_command(tmp_path, *words)
    assert done.returncode == 1
    assert "counterfactual.path: is missing" in done.stderr + done.stdout
    for base in (0, 1):
        np.save(tmp_path / f"made_{base}.npy", np.full((40, 2), 0.3 + 0.4 * base))
    done = run_command(tmp_path, *words, 'counterfactual.path="made_{base}.npy"', "counterfactual.units=unit")
    assert done.returncode == 0, done.stderr
    found = table(tmp_path, "counterfactuals")
    assert {base: np.stack(some.counterfactual).max() for base, some in found.groupby("base")} == {
        0: np.float32(0.3),
        1: np.float32(0.7),
    }
    (result,) = results(tmp_path)
    assert json.loads(json.dumps(result["config"]["counterfactual"]["path"])) == "made_{base}.npy"


def test_a_base_without_gradients_takes_them_as_well(tmp_path, compas):
    np.save(tmp_path / "made.npy", compas.x_train[:30].numpy())
    words = [f"paths.store={tmp_path}", *COMPAS[1:3], "samples=30", "model=decision_tree"]
    job = experiment.run(plan_of(composed(*words, *importing(tmp_path / "made.npy"))))
    assert 0 < job.metrics["found"] < 1
    assert (ROOT / "conf" / "counterfactual" / "imported.yaml").exists()
