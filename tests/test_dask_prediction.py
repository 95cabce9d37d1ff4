"""Predictions shared among Dask workers: the bytes of a run without, whatever dies; clear ends."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pandas as pd
import pytest

from zoobot import cli, workflow
from zoobot.options import ClusterOptions, PredictOptions
from zoobot.shared.errors import ConfigError, ImageError, MissingPackageError, PredictionsError
from zoobot.workflow import dask

pytest.importorskip("distributed")

N_PARTS, PART_ROWS = 24, 10


@pytest.fixture(scope="module")
def client():
    """Two worker processes, as the command line starts them."""
    with dask.connect(ClusterOptions(cluster="local", workers=2)) as connected:
        yield connected


@pytest.fixture(scope="module")
def catalog(tiny_survey):
    """Many galaxies over a few images, of which one in ten can't be read."""
    table = pd.read_csv(tiny_survey)[["id_str", "file_loc"]]
    many = pd.concat([table.assign(id_str=table["id_str"] + f"_{i}") for i in range(10)])
    many = many.reset_index(drop=True)
    many.loc[::10, "file_loc"] = "absent.jpg"
    path = tiny_survey.with_name("shared é.csv")
    many.to_csv(path, index=False)
    return path


@pytest.fixture
def options(engine_name, tree_checkpoint, catalog, tmp_path):
    return PredictOptions(
        checkpoint=str(tree_checkpoint(engine_name)),
        backend=engine_name,
        catalog=str(catalog),
        save_loc=str(tmp_path / "shared"),
        part_rows=PART_ROWS,
        n_samples=2,
        batch_size=8,
        progress=False,
    )


def data_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def files_of(folder):
    """Everything in a folder; of a file that goes while it is looked at, nothing."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: path.read_bytes() if path.exists() else None for path in paths}


def kill_a_worker_after_the_first_part(client, folder, seen):
    """Kill, in a thread, a worker process that predicts; tell how many parts there were by then."""
    pids = client.run(os.getpid)

    def watch():
        deadline = time.monotonic() + 120
        while not list(folder.glob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        seen.append(len(list(folder.glob("part-*"))))

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_workers_that_die_change_no_byte(client, options, tmp_path):
    alone = replace(options, save_loc=str(tmp_path / "alone"))
    expected = workflow.predict(alone)
    seen = []
    thread = kill_a_worker_after_the_first_part(client, tmp_path / "shared", seen)
    result = workflow.predict_on(client, options, shards=3)
    thread.join()
    assert 0 < seen[0] < N_PARTS
    whole = data_of(tmp_path / "shared")
    assert whole == data_of(tmp_path / "alone")
    assert len(whole) == 2 * N_PARTS
    for fact in ("galaxies", "columns", "failed", "missing_parts"):
        assert getattr(result, fact) == getattr(expected, fact)
    assert not list((tmp_path / "shared").glob(".*"))
    records = sorted(path.name for path in (tmp_path / "shared" / "_runs").iterdir())
    assert records == [f"shard-{i}-of-3.json" for i in (1, 2, 3)]


@pytest.fixture
def torch_options(options, engine_name):
    if engine_name != "pytorch":
        pytest.skip("nothing in it is of an engine")
    return options


def test_a_folder_of_another_run_is_refused_in_one_line(client, torch_options, tmp_path, capsys):
    workflow.predict_on(client, torch_options)
    before = files_of(tmp_path / "shared")
    with pytest.raises(PredictionsError, match=r"options\.seed: 42 there, 7 now"):
        workflow.predict_on(client, replace(torch_options, seed=7))
    words = ["predict", torch_options.checkpoint, "--catalog", torch_options.catalog, "--seed", "7"]
    where = ["--save-loc", torch_options.save_loc, "--cluster", client.scheduler.address]
    assert cli.main([*words, *where, "--part-rows", str(PART_ROWS), "--n-samples", "2"]) == 2
    error = capsys.readouterr().err
    assert "zoobot: error:" in error
    assert "holds predictions of another run" in error
    assert "Traceback" not in error
    deadline = time.monotonic() + 60
    while files_of(tmp_path / "shared") != before and time.monotonic() < deadline:
        time.sleep(0.1)  # the other shard has yet to find it out
    assert files_of(tmp_path / "shared") == before


def test_further_tables_and_failures_are_of_all_shards(client, torch_options, tmp_path, monkeypatch, catalog):
    monkeypatch.chdir(catalog.parent)  # workers have stayed in the folder where they were started
    tables = {"summary": str(tmp_path / "summary.csv"), "full_table": str(tmp_path / "full.parquet")}
    with pytest.raises(ImageError, match=r"\d+ of 240 images could not be read, more than may fail"):
        workflow.predict_on(client, replace(torch_options, max_failures=20), shards=3)
    relative = replace(torch_options, catalog=catalog.name, max_failures=24, **tables)
    result = workflow.predict_on(client, relative)
    assert result.failed == 24
    assert (
        result.galaxies == len(pd.read_csv(tables["summary"])) == len(pd.read_parquet(tables["full_table"]))
    )
    workflow.predict(replace(relative, save_loc="alone", summary=None, full_table=None))
    assert data_of(tmp_path / "shared") == data_of(catalog.parent / "alone")
    with pytest.raises(ConfigError, match=r"summary\.csv exists"):
        workflow.predict_on(client, relative)
    again = workflow.predict_on(client, replace(relative, overwrite=True, part_rows=100))
    assert again.galaxies == result.galaxies


def test_what_can_not_be_shared_is_refused_before_work(torch_options, tmp_path):
    for wrong, words in (
        ({"save_loc": str(tmp_path / "t.csv"), "part_rows": None}, "workers share a folder of parts"),
        ({"shard": "1/2"}, "leave --shard out"),
        ({"checkpoint": str(tmp_path / "none")}, "does not exist"),
        ({"catalog": str(tmp_path / "none.csv")}, "none.csv"),
    ):
        with pytest.raises(ValueError, match=words):
            workflow.predict_on(None, replace(torch_options, **wrong))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cluster": "slum", "workers": 2}, "must be one of local, htcondor"),
        ({"cluster": "slurm"}, "needs --workers"),
        ({"workers": 3}, "--workers is for --cluster"),
        ({"cluster": "none.json"}, "no such scheduler file"),
        ({"cluster": "what://127.0.0.1:1"}, "no Dask scheduler answers"),
        ({"cluster": "lsf", "workers": 2}, "submits jobs by 'bsub'"),
    ],
)
def test_clusters_that_are_none(given, words):
    with pytest.raises(ConfigError, match=words):  # noqa: SIM117
        with dask.connect(ClusterOptions(**given)):
            pass


def test_workers_that_do_not_start_are_said_in_our_words(monkeypatch):
    def no_cluster(**_):
        msg = "Nanny failed to start."
        raise RuntimeError(msg)

    monkeypatch.setattr(dask.import_distributed(), "LocalCluster", no_cluster)
    with (
        pytest.raises(ConfigError, match=r"2 worker processes of --cluster local do not start .*__main__"),
        dask.connect(ClusterOptions(cluster="local", workers=2)),
    ):
        pass


def test_without_dask_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        dask.import_distributed()


SUBMIT = """#!/bin/bash
cp "$1" "{folder}/job.$$.sh"
nohup setsid bash "{folder}/job.$$.sh" > "{folder}/log.$$" 2>&1 < /dev/null &
echo "Submitted batch job $!"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands that do what SLURM's do, on this machine, and a jobqueue configuration for them."""
    import dask

    pytest.importorskip("dask_jobqueue")
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (
        ("sbatch", SUBMIT.format(folder=folder)),
        ("scancel", '#!/bin/bash\nkill -- -"$1"\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    given = {
        "cores": 1,
        "memory": "4GB",
        "local-directory": str(folder),
        "worker-extra-args": ["--no-dashboard"],
    }
    with dask.config.set({"jobqueue.slurm": {**dask.config.get("jobqueue.slurm"), **given}}):
        yield folder


def test_jobs_of_a_batch_system(slurm, torch_options, tmp_path, capsys):
    words = ["predict", torch_options.checkpoint, "--catalog", torch_options.catalog, "--no-progress"]
    where = ["--save-loc", torch_options.save_loc, "--cluster", "slurm", "--workers", "2"]
    assert cli.main([*words, *where, "--part-rows", str(PART_ROWS)]) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "shared").glob("part-*"))) == N_PARTS
    jobs = list(slurm.glob("job.*"))
    assert len(jobs) == 2
    assert all("--no-dashboard --nthreads 1" in job.read_text() for job in jobs)

    with pytest.raises(ConfigError, match=r"has no section jobqueue\.gpu"):
        workflow.predict_on_cluster(torch_options, ClusterOptions(cluster="slurm:gpu", workers=1))
    (slurm / "sbatch").write_text("#!/bin/bash\necho no such account >&2; exit 1\n")
    with pytest.raises(ConfigError, match="sbatch does not take the jobs"):
        workflow.predict_on_cluster(torch_options, ClusterOptions(cluster="slurm", workers=1))
