from __future__ import annotations

import gzip
import socket
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.dataset import digest_of
from pipeline.data.sources.idx import IDX_NAMES, RawImages
from pipeline.data.sources.mnist import MNIST_SHA256
from pipeline.tasks.digit_pairs.sources import LARGEST_FILE, open_source
from pipeline.tasks.subjects import load_splits
from tests.idx_files import encode_idx, make_raw_digits, write_idx_folder

MNIST5K_SHA256 = "9e39318c7c952727697a5af9151c212d570f2566743954772ac464120d7abb9a"
TRAIN_IMAGES, TRAIN_LABELS = IDX_NAMES[:2]
MEBIBYTE = 2**20
MNIST_FILES = Path(__file__).parents[3] / ".." / "shared" / "data" / "mnist"
needs_mnist_files = pytest.mark.skipif(
    not MNIST_FILES.is_dir(), reason="the four MNIST files are not beside the project"
)


@pytest.fixture(scope="module")
def mnist5k(tmp_path_factory: pytest.TempPathFactory) -> RawImages:
    return open_source("mnist5k", data_dir="", cache_dir=tmp_path_factory.mktemp("cache")).read()


def read_idx(folder: Path) -> RawImages:
    return open_source("idx", data_dir=str(folder), cache_dir=folder).read()


def bomb(shape: tuple[int, ...], *, mebibytes: int) -> bytes:
    """A small gzip file that unpacks to a header with this shape and a lot of zeros."""
    pack = zlib.compressobj(9, wbits=31)
    header = pack.compress(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape))
    return header + b"".join(pack.compress(bytes(MEBIBYTE)) for _ in range(mebibytes)) + pack.flush()


class TestMnist5k:
    def test_has_250_digits_of_each_class_in_each_part(self, mnist5k: RawImages) -> None:
        assert mnist5k.train_images.shape == mnist5k.test_images.shape == (2500, 28, 28)
        for labels in (mnist5k.train_labels, mnist5k.test_labels):
            assert np.bincount(labels).tolist() == [250] * 10

    def test_parts_share_no_image(self, mnist5k: RawImages) -> None:
        train, test = ({image.tobytes() for image in images} for images in (mnist5k.train_images, mnist5k.test_images))
        assert train.isdisjoint(test)

    def test_digits_and_split_never_change_silently(self, mnist5k: RawImages) -> None:
        assert digest_of(*mnist5k.arrays) == MNIST5K_SHA256


class TestIdx:
    @pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzipped"])
    def test_written_files_are_read_back_equal(self, tmp_path: Path, compress: bool) -> None:
        raw = read_idx(write_idx_folder(tmp_path / "idx", compress=compress))
        for array, expected in zip(raw.arrays, make_raw_digits().arrays, strict=True):
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(array, expected)

    def test_names_with_a_dot_are_found(self, idx_folder: Path) -> None:
        for name in IDX_NAMES:
            (idx_folder / name).rename(idx_folder / name.replace("-idx", ".idx"))
        assert digest_of(*read_idx(idx_folder).arrays) == digest_of(*make_raw_digits().arrays)

    def test_the_fingerprint_follows_the_content(self, idx_folder: Path) -> None:
        def fingerprint() -> str:
            return open_source("idx", data_dir=str(idx_folder), cache_dir=idx_folder).fingerprint

        before = fingerprint()
        assert before == fingerprint()
        path = idx_folder / IDX_NAMES[3]
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")
        assert before != fingerprint()

    @pytest.mark.parametrize("name", IDX_NAMES)
    def test_a_missing_file_is_named(self, idx_folder: Path, name: str) -> None:
        (idx_folder / name).unlink()
        with pytest.raises(DataError, match=f"has no {name}"):
            read_idx(idx_folder)

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nowhere"):
            read_idx(tmp_path / "nowhere")
        with pytest.raises(DataError, match="~no-such-user-here"):
            read_idx(Path("~no-such-user-here/digits"))

    @pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 10, 15, 16, 17, 1000, -1])
    @pytest.mark.parametrize("name", IDX_NAMES)
    def test_a_truncated_file_is_named(self, idx_folder: Path, name: str, length: int) -> None:
        path = idx_folder / name
        path.write_bytes(path.read_bytes()[: min(length, path.stat().st_size - 1)])
        with pytest.raises(DataError, match=name):
            read_idx(idx_folder)

    @pytest.mark.parametrize("length", [2, 5, 12, 40, -10, -1])
    def test_a_truncated_gzip_file_is_named(self, tmp_path: Path, length: int) -> None:
        folder = write_idx_folder(tmp_path / "idx", compress=True)
        path = folder / f"{TRAIN_LABELS}.gz"
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=TRAIN_LABELS):
            read_idx(folder)

    def test_every_flipped_byte_of_a_gzip_file_is_found_or_harmless(self, tmp_path: Path) -> None:
        folder = write_idx_folder(tmp_path / "idx", compress=True)
        path = folder / f"{TRAIN_LABELS}.gz"
        whole = path.read_bytes()
        for position in range(len(whole)):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
            try:
                raw = read_idx(folder)
            except DataError as error:
                assert TRAIN_LABELS in str(error)  # noqa: PT017 - either ending is right
            else:
                np.testing.assert_array_equal(raw.train_labels, make_raw_digits().train_labels)

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda content: b"\x01" + content[1:], id="does not begin with zero"),
            pytest.param(lambda content: content[:2] + b"\x0d" + content[3:], id="floats"),
            pytest.param(lambda content: content[:3] + b"\x02" + content[4:], id="other number of dimensions"),
            pytest.param(lambda content: content[:4] + struct.pack(">I", 41) + content[8:], id="count too large"),
            pytest.param(lambda content: content[:4] + struct.pack(">I", 2**32 - 1) + content[8:], id="count huge"),
            pytest.param(lambda content: content + b"\x00", id="a byte too many"),
            pytest.param(lambda content: b"\x1f\x8b" + content[2:], id="not gzip"),
        ],
    )
    @pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS])
    def test_a_damaged_file_is_named(self, idx_folder: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
        path = idx_folder / name
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=name):
            read_idx(idx_folder)

    @pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzipped"])
    @pytest.mark.parametrize(
        ("name", "sizes", "message"),
        [
            pytest.param(TRAIN_LABELS, (), r"shape \(N\), but has 0 dimensions", id="no dimension"),
            pytest.param(TRAIN_IMAGES, (), r"shape \(N, 28, 28\), but has 0 dimensions", id="no dimension of images"),
            pytest.param(TRAIN_IMAGES, (2,) * 255, r"shape \(N, 28, 28\), but has 255 dimensions", id="255 dimensions"),
            pytest.param(TRAIN_IMAGES, (40,), r"shape \(N, 28, 28\), but has 1 dim", id="images in one dimension"),
            pytest.param(TRAIN_LABELS, (40, 1), r"shape \(N\), but has 2 dimensions", id="labels in two dimensions"),
            pytest.param(TRAIN_IMAGES, (40, 32, 32), r"\(N, 28, 28\), but is of shape \(40, 32, 32\)", id="size"),
            pytest.param(TRAIN_IMAGES, (40, 0, 28), r"\(N, 28, 28\), but is of shape \(40, 0, 28\)", id="no size"),
            pytest.param(TRAIN_IMAGES, (2**31, 2**31, 4), r"of shape \(2147483648, ", id="an overflow to 0"),
            pytest.param(TRAIN_IMAGES, (0, 28, 28), "between 1 and 1,000,000 digits, but 0", id="no images"),
            pytest.param(TRAIN_LABELS, (0,), "between 1 and 1,000,000 digits, but 0", id="no labels"),
            pytest.param(TRAIN_IMAGES, (1_000_001, 28, 28), "and 1,000,000 digits, but 1,000,001", id="too many"),
            pytest.param(TRAIN_LABELS, (2**32 - 1,), "1,000,000 digits, but 4,294,967,295", id="too many labels"),
        ],
    )
    def test_an_impossible_header_is_refused_whatever_follows(
        self, idx_folder: Path, name: str, sizes: tuple[int, ...], message: str, compress: bool
    ) -> None:
        content = struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + b"\x00" * 1000
        (idx_folder / name).write_bytes(gzip.compress(content) if compress else content)
        with pytest.raises(DataError, match=f"{name} .*{message}"):
            read_idx(idx_folder)

    def test_no_more_is_unpacked_than_the_header_says(self, idx_folder: Path) -> None:
        (idx_folder / TRAIN_IMAGES).write_bytes(bomb((40, 28, 28), mebibytes=64))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=f"{TRAIN_IMAGES} must hold 31360 bytes .* but holds more"):
                read_idx(idx_folder)
            assert tracemalloc.get_traced_memory()[1] < 16 * MEBIBYTE
        finally:
            tracemalloc.stop()

    def test_a_file_larger_than_any_that_is_allowed_is_not_read(self, idx_folder: Path) -> None:
        with (idx_folder / TRAIN_IMAGES).open("r+b") as file:
            file.truncate(LARGEST_FILE + 1)  # which takes no space on the disk
        with pytest.raises(DataError, match=f"at most 1,000,000 digits, but .*{TRAIN_IMAGES} has 784,000,017 bytes"):
            read_idx(idx_folder)

    def test_images_without_labels_are_refused_with_both_files_and_their_counts(self, idx_folder: Path) -> None:
        (idx_folder / TRAIN_LABELS).write_bytes(encode_idx(np.zeros(39, np.uint8)))
        with pytest.raises(DataError, match=f"{TRAIN_IMAGES} holds 40 images and .*{TRAIN_LABELS} 39 labels"):
            read_idx(idx_folder)

    def test_labels_that_are_no_digits_are_refused(self, idx_folder: Path) -> None:
        (idx_folder / TRAIN_LABELS).write_bytes(encode_idx(np.full(40, 11, np.uint8)))
        with pytest.raises(DataError, match=f"digits 0 to 9, but .*{TRAIN_LABELS} has 11 among them"):
            read_idx(idx_folder)

    @needs_mnist_files
    def test_mnist_as_published_has_the_recorded_digest(self) -> None:
        assert digest_of(*read_idx(MNIST_FILES).arrays) == MNIST_SHA256


class TestMnist:
    @pytest.fixture
    def mirrors(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        """Sets the only address that MNIST is downloaded from."""
        from torchvision.datasets import MNIST

        return lambda address: monkeypatch.setattr(MNIST, "mirrors", [address])

    @pytest.fixture
    def mnist_folder(self, tmp_path: Path) -> Path:
        """Where torchvision keeps the files that it has downloaded."""
        folder = tmp_path / "torchvision" / "MNIST" / "raw"
        folder.mkdir(parents=True)
        return folder

    def test_without_a_network_the_way_out_is_named(self, tmp_path: Path, mirrors: Callable[[str], None]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        mirrors(f"http://127.0.0.1:{port}/")
        source = open_source("mnist", data_dir="", cache_dir=tmp_path)
        with pytest.raises(DataError, match=r"(?s)--dataset mnist5k.*--dataset idx --data-dir"):
            source.read()
        assert socket.getdefaulttimeout() is None

    def test_a_mirror_with_other_files_is_refused(self, tmp_path: Path, mirrors: Callable[[str], None]) -> None:
        (tmp_path / "mirror").mkdir()
        for name in IDX_NAMES:
            (tmp_path / "mirror" / f"{name}.gz").write_bytes(gzip.compress(b"something else"))
        with served(tmp_path / "mirror") as address:
            mirrors(address)
            with pytest.raises(DataError, match="mnist5k"):
                open_source("mnist", data_dir="", cache_dir=tmp_path / "cache").read()

    @needs_mnist_files
    def test_downloaded_files_are_read_without_a_network(
        self, mnist_folder: Path, tmp_path: Path, mirrors: Callable[[str], None]
    ) -> None:
        mirrors("http://127.0.0.1:1/")
        for name in IDX_NAMES:
            (mnist_folder / name).write_bytes(gzip.decompress((MNIST_FILES / f"{name}.gz").read_bytes()))
        raw = open_source("mnist", data_dir="", cache_dir=tmp_path).read()
        assert digest_of(*raw.arrays) == MNIST_SHA256

    def test_other_digits_are_refused(self, mnist_folder: Path, tmp_path: Path) -> None:
        for name, array in zip(IDX_NAMES, make_raw_digits().arrays, strict=True):
            (mnist_folder / name).write_bytes(encode_idx(array))
        with pytest.raises(DataError, match=f"{tmp_path}.*SHA-256 differs"):
            open_source("mnist", data_dir="", cache_dir=tmp_path).read()

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"\x01" * 100, id="not IDX"),
            pytest.param(encode_idx(np.zeros(100, np.uint8))[:50], id="truncated"),
            pytest.param(encode_idx(np.zeros(100, np.uint8)), id="one dimension"),
        ],
    )
    def test_files_damaged_since_the_download_are_refused(
        self, mnist_folder: Path, tmp_path: Path, content: bytes
    ) -> None:
        for name in IDX_NAMES:
            (mnist_folder / name).write_bytes(content)
        with pytest.raises(DataError, match=str(tmp_path)):
            open_source("mnist", data_dir="", cache_dir=tmp_path).read()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server for this folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "close"),
        [("mnist5", "mnist5k"), ("mnsit", "mnist"), ("zzz", "idx, mnist, mnist5k")],
    )
    def test_an_unknown_dataset_gives_the_near_misses(self, tmp_path: Path, name: str, close: str) -> None:
        with pytest.raises(UnknownNameError, match=f"unknown dataset '{name}'.*{close}"):
            open_source(name, data_dir="", cache_dir=tmp_path)

    @pytest.mark.parametrize(
        ("name", "close"),
        [("mnist5", "mnist5k"), ("mnsit", "mnist"), ("dics", "disc"), ("zzz", "disc, idx, mnist, mnist5k")],
    )
    def test_an_unknown_dataset_gives_the_near_misses_of_all_tasks(self, tmp_path: Path, name: str, close: str) -> None:
        with pytest.raises(UnknownNameError, match=f"unknown dataset '{name}'.*{close}"):
            load_splits(DataConfig(dataset=name, cache_dir=tmp_path))

    def test_idx_needs_a_data_dir(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="--dataset idx needs --data-dir"):
            open_source("idx", data_dir="", cache_dir=tmp_path)

    @pytest.mark.parametrize("name", ["mnist5k", "mnist"])
    def test_other_datasets_take_no_data_dir(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=f"--dataset {name} takes no --data-dir"):
            open_source(name, data_dir=str(tmp_path), cache_dir=tmp_path)
