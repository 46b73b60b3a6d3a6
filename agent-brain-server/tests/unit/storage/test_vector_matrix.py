import numpy as np
import pytest

from agent_brain_server.storage.vector_matrix import VectorMatrix


@pytest.fixture
def matrix(tmp_path):
    matrix = VectorMatrix(tmp_path / "matrix.f32", 4)
    yield matrix
    matrix.close()


def test_rows_are_read_as_they_were_written(matrix):
    first, second = np.eye(4, dtype=np.float32)[:2], np.full((1, 4), 0.5, dtype=np.float32)
    matrix.write(0, first)
    matrix.write(2, second)
    assert np.array_equal(matrix.view(3), np.vstack([first, second]))


def test_a_view_stays_as_it_is_while_the_file_grows(matrix):
    matrix.write(0, np.ones((1, 4), dtype=np.float32))
    before = matrix.view(1)
    matrix.write(1, np.zeros((1000, 4), dtype=np.float32))
    assert np.array_equal(before, np.ones((1, 4), dtype=np.float32))
    assert not before.flags.writeable


def test_a_row_that_was_cut_off_does_not_count(matrix):
    matrix.write(0, np.ones((3, 4), dtype=np.float32))
    with matrix.path.open("r+b") as file:
        file.truncate(2 * 16 + 5)
    assert matrix.rows_on_disk() == 2


def test_an_empty_matrix_has_its_width(matrix):
    assert matrix.view(0).shape == (0, 4)
