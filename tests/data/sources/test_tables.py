from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.data.labelled import Labelled
from tests.data.sources.loading import load

LEAVES = """length,edge,veins,dry,tree,species
1.5,smooth,8,True,a,beech
2.5,wavy,9,False,a,lime
3.5,smooth,7,True,b,lime
4.5,toothed,6,False,c,beech
"""
Read = Callable[..., Labelled]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The samples in this text, the target being `species` unless another is named."""

    def read(text: str | bytes, **options: Any) -> Labelled:
        path = tmp_path / "leaves.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load("csv", tmp_path, **{"data_file": path, "target": "species", **options})

    return read


def test_numbers_stay_and_text_becomes_a_column_for_each_category(read: Read, tmp_path: Path) -> None:
    data = read(LEAVES, group="tree")
    assert data.features == ("length", "edge=smooth", "edge=toothed", "edge=wavy", "veins", "dry")
    assert data.x.dtype == np.float32
    assert data.x.tolist() == [[1.5, 1, 0, 0, 8, 1], [2.5, 0, 0, 1, 9, 0], [3.5, 1, 0, 0, 7, 1], [4.5, 0, 1, 0, 6, 0]]
    assert data.target.tolist() == ["beech", "lime", "lime", "beech"]
    assert data.group is not None
    assert data.group.tolist() == ["a", "a", "b", "c"]
    assert (data.name, data.source, data.impute) == ("leaves", str(tmp_path / "leaves.csv"), "")


def test_features_are_those_that_are_chosen_in_their_order(read: Read) -> None:
    assert read(LEAVES, features="veins, length").features == ("veins", "length")
    assert read(LEAVES.replace("length", '"length, mm"'), features='"length, mm",dry').features == ("length, mm", "dry")


def test_a_target_keeps_its_type(read: Read) -> None:
    assert read(LEAVES, target="veins").target.dtype == np.int64
    assert read(LEAVES, target="length").target.dtype == np.float64
    assert read(LEAVES, target="dry").target.dtype == np.bool_


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n",
    ],
    ids=["semicolons", "tabs", "spaces", "lines of Windows", "byte order mark", "empty lines at the end"],
)
def test_other_ways_to_write_the_same_table_give_the_same(read: Read, change: Callable[[str], str]) -> None:
    data, expected = read(change(LEAVES)), read(LEAVES)
    assert data.features == expected.features
    np.testing.assert_array_equal(data.x, expected.x)


def test_a_path_is_relative_to_the_folder_in_which_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves.csv").write_text(LEAVES)
    monkeypatch.chdir(tmp_path)
    assert len(load("csv", tmp_path, data_file="leaves.csv", target="species").x) == 4
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("VARIANTLAB_FOLDER", str(tmp_path))
    assert len(load("csv", tmp_path, data_file="leaves.csv", target="species").x) == 4


def test_parquet_is_read_as_the_same_table(tmp_path: Path, read: Read) -> None:
    expected = read(LEAVES, group="tree")
    frame = pd.read_csv(tmp_path / "leaves.csv").astype({"edge": "category"})
    frame.to_parquet(tmp_path / "leaves.parquet")
    data = load("parquet", tmp_path, data_file=tmp_path / "leaves.parquet", target="species", group="tree")
    np.testing.assert_array_equal(data.x, expected.x)
    assert data.features == expected.features
    assert data.target.tolist() == expected.target.tolist()


def test_missing_values_are_kept_to_be_filled_in(read: Read) -> None:
    data = read(LEAVES.replace("2.5,wavy", ","), impute="median")
    assert data.impute == "median"
    assert np.isnan(data.x).sum() == 1
    assert data.features[1:3] == ("edge=smooth", "edge=toothed")
    assert data.x[1, 1:3].tolist() == [0, 0]


def test_nothing_is_filled_in_where_nothing_is_missing(read: Read) -> None:
    assert read(LEAVES, impute="mean").impute == ""
    assert read(LEAVES.replace("2.5,wavy", "2.5,"), impute="mean").impute == ""


def test_constant_columns_are_named_once(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    read("a,b,c,species\n1,2,x,lime\n1,3,x,beech\n")
    [record] = caplog.records
    assert record.getMessage() == "nothing can be learned from columns with the same value in all rows: a and c"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ""}, "needs --target, the column to predict: one of length, edge, veins, dry, tree and 1 more"),
        ({"target": "specie"}, "unknown column of leaves 'specie'; did you mean species"),
        ({"features": "vein,length"}, "unknown column of leaves 'vein'; did you mean veins"),
        ({"group": "trees"}, "unknown column of leaves 'trees'; did you mean tree"),
        ({"features": "length,species"}, "species is among --features as well"),
        ({"group": "species"}, "species is --group as well"),
        ({"impute": "meen"}, "unknown impute 'meen'; did you mean mean"),
        ({"pooling": "max"}, "--dataset csv takes no --pooling"),
        ({"data_file": ""}, "--dataset csv needs --data-file"),
        ({"data_file": "nowhere.csv"}, "there is no .*nowhere.csv"),
    ],
)
def test_columns_and_files_that_cannot_be_are_refused(read: Read, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(LEAVES, **options)


def test_an_unknown_column_is_an_unknown_name(read: Read) -> None:
    with pytest.raises(UnknownNameError):
        read(LEAVES, target="specie")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begin with the names of its columns, but .*leaves.csv begins with an empty line"),
        ("a,species\n", "must have rows below the names of its columns, but .*leaves.csv has none"),
        ("a,a,species\n1,2,x\n", "two that are called a"),
        (",a,species\n0,1,x\n1,2,y\n", r"column 1 of leaves has none; if it only counts .* to_csv\(index=False\)"),
        ("species\nx\ny\n", "columns to learn from, but leaves has 2 rows and 0 such columns"),
        ("a,species\n1,x\n2,y,z\n", "as many fields as the first one.*Expected 2 fields in line 3, saw 3"),
        ("a,species\n1,x,3\n2,y,3\n", "as many fields as the first one"),
        ('a,species\n1,"x\n2,y\n', "as many fields as the first one"),
        ("a,species\n1,x\n,y\n,x\n", r"in a \(2 of 3\); fill them in with --impute mean, median or most_frequent"),
        ("a,b,species\n1,,x\n2,,y\n", "all rows of leaves are empty in b; leave it out with --features"),
        ("a,species\n1,x\n2,\n3,\n", "needs a target, but species is empty in data rows 2 and 3"),
        ("a,species\n1,x\ninf,y\n", "must be finite and below 3.4e38, but a is not in data row 2"),
        ("a,species\n1,x\n1e39,y\n", "must be finite and below 3.4e38, but a is not in data row 2"),
        ("a,b,species\n1,q,x\n1,q,y\n", "each column of leaves has the same value in all rows"),
    ],
)
def test_tables_that_cannot_be_learned_are_refused(read: Read, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_missing_group_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match="every sample needs a group, but tree is empty in data row 3"):
        read(LEAVES.replace("True,b", "True,"), group="tree")


def test_text_of_too_many_categories_is_refused(read: Read) -> None:
    lines = "".join(f"{number},name {number},{'xy'[number % 2]}\n" for number in range(101))
    with pytest.raises(
        DataError, match=r"name holds 101 in 101 rows .* probably a name, .* leave it out with --features"
    ):
        read(f"a,name,species\n{lines}")
    assert read(f"a,name,species\n{lines}", features="a").features == ("a",)


def test_a_column_of_numbers_with_some_text_is_refused_with_its_row(read: Read) -> None:
    lines = "".join(f"{'?' if number in (3, 7) else number},{'xy'[number % 2]}\n" for number in range(40))
    with pytest.raises(DataError, match=r"a holds numbers, but also '\?' in data rows 4 and 8; correct it, or leave"):
        read(f"a,species\n{lines}")


@pytest.mark.parametrize("content", ["größe,species\n1,x\n".encode("latin-1"), LEAVES.encode("utf-16")])
def test_a_file_that_is_not_utf8_is_refused(read: Read, content: bytes) -> None:
    with pytest.raises(DataError, match=r"must be text in UTF-8, but .*leaves.csv is not; save it anew as CSV UTF-8"):
        read(content)


def test_dates_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-02"]), "y": [0, 1]})
    frame.to_parquet(tmp_path / "days.parquet")
    with pytest.raises(DataError, match=r"day holds datetime64.*make numbers of it, or leave it out with --features"):
        load("parquet", tmp_path, data_file=tmp_path / "days.parquet", target="y")


@pytest.mark.parametrize("content", [b"", b"PAR1", LEAVES.encode()])
def test_another_file_than_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"x.parquet is not a whole Parquet file") as caught:
        load("parquet", tmp_path, data_file=tmp_path / "x.parquet", target="species")
    assert "\n" not in str(caught.value)
