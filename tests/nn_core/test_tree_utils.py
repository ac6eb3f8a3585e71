import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnkit.utilities.tree_utils import (
    branches,
    get_nested,
    make_prototype_tree,
    set_matching,
    set_matching_select,
    set_nested,
    tree_find,
    tree_flatten,
    tree_map,
    tree_unflatten,
    tree_update,
)

TREE = {"a": 1, "b": {"c": 2, "d": {}}}

trees = st.recursive(
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    lambda children: st.dictionaries(st.text(max_size=3), children | st.integers(), max_size=3),
    max_leaves=12,
)


def test_branches_are_the_key_tuples_of_all_leaves_in_order():
    assert list(branches(TREE)) == [("a",), ("b", "c")]


def test_lists_and_tuples_are_leaves():
    assert list(branches({"l": [1, 2], "t": (1,)})) == [("l",), ("t",)]


def test_get_nested_follows_the_branch():
    assert get_nested(TREE, ("b", "c")) == 2
    with pytest.raises(KeyError):
        get_nested(TREE, ("b", "x"))


def test_set_nested_leaves_the_tree_alone_unless_in_place():
    tree = {"a": {"b": 1}}

    assert set_nested(tree, ("a", "b"), 2) == {"a": {"b": 2}}
    assert tree == {"a": {"b": 1}}
    assert set_nested(tree, ("a", "b"), 3, inplace=True) is tree
    assert tree == {"a": {"b": 3}}


def test_set_nested_does_not_invent_branches():
    with pytest.raises(KeyError):
        set_nested({}, ("x", "y"), 1)


def test_set_matching_sets_the_leaves_that_both_trees_have():
    assert set_matching(TREE, {"a": 0, "b": {"c": 0}, "z": 0}, 9) == {"a": 9, "b": {"c": 9, "d": {}}}
    assert TREE == {"a": 1, "b": {"c": 2, "d": {}}}


def test_set_matching_select_sets_where_the_target_is_true():
    assert set_matching_select(TREE, {"a": False, "b": {"c": True}}, 9) == {"a": 1, "b": {"c": 9, "d": {}}}


def test_prototype_is_true_where_the_target_has_the_leaf():
    assert make_prototype_tree(TREE, {"b": {"c": 0}}) == {"a": False, "b": {"c": True, "d": {}}}


def test_prototype_warns_of_leaves_outside_the_full_tree():
    with pytest.warns(SyntaxWarning, match=r"'b\.q'"):
        make_prototype_tree(TREE, {"b": {"q": 0}})


def test_tree_map_takes_the_tree_first():
    assert tree_map(TREE, lambda leaf: leaf + 1) == {"a": 2, "b": {"c": 3, "d": {}}}


def test_flatten_returns_leaves_and_a_structure_of_none():
    assert tree_flatten(TREE) == ([1, 2], {"a": None, "b": {"c": None, "d": {}}})


def test_unflatten_refuses_another_number_of_leaves():
    with pytest.raises(ValueError, match="2 leaves, but 3"):
        tree_unflatten(tree_flatten(TREE)[1], [1, 2, 3])


@given(trees)
def test_flatten_and_unflatten_are_inverse(tree):
    leaves, structure = tree_flatten(tree)

    assert tree_unflatten(structure, leaves) == tree


@given(trees, trees)
def test_update_keeps_what_is_only_on_one_side_and_prefers_the_addition(target, additional):
    merged = tree_update(target, additional)

    assert all(
        get_nested(merged, branch) == get_nested(additional, branch) for branch in branches(additional)
    )
    for branch in branches(target):
        if branch[0] not in additional:
            assert get_nested(merged, branch) == get_nested(target, branch)


def test_update_merges_nested_dictionaries():
    target = {"a": {"x": 1}, "b": 2}

    assert tree_update(target, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}, "b": 2}
    assert target == {"a": {"x": 1}, "b": 2}


def test_update_replaces_a_leaf_by_a_tree():
    assert tree_update({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_tree_find_yields_the_branches_of_true_leaves():
    assert list(tree_find({"a": 0, "b": {"c": 1, "d": None}})) == [("b", "c")]


def test_leaves_are_shared_not_copied():
    leaf = [1]

    assert tree_update({}, {"a": {"b": leaf}})["a"]["b"] is leaf
