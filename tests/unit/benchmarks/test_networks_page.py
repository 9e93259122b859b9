"""The accuracy page has two parts, each written by its own command."""

from benchmarks.accuracy_page import LINE_HEADING, NETWORKS_HEADING, put_section


def test_each_command_leaves_the_other_part_alone(tmp_path):
    path = tmp_path / "accuracy.md"
    put_section(NETWORKS_HEADING, f"{NETWORKS_HEADING}\n\nnetworks", path)
    put_section(LINE_HEADING, f"{LINE_HEADING}\n\nline", path)
    assert path.read_text() == f"{LINE_HEADING}\n\nline\n\n{NETWORKS_HEADING}\n\nnetworks\n"
    put_section(NETWORKS_HEADING, f"{NETWORKS_HEADING}\n\nnew", path)
    assert path.read_text() == f"{LINE_HEADING}\n\nline\n\n{NETWORKS_HEADING}\n\nnew\n"
    put_section(LINE_HEADING, f"{LINE_HEADING}\n\nnewer", path)
    assert path.read_text() == f"{LINE_HEADING}\n\nnewer\n\n{NETWORKS_HEADING}\n\nnew\n"
