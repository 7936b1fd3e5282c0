import torch
from pytorch3d.transforms import axis_angle_to_matrix, so3_relative_angle

from partnerface.evaluation.nearest_frame import expression_reach, nearest_training_frames


def test_against_a_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    count = 30
    rotation = axis_angle_to_matrix(0.2 * torch.randn(count, 3, generator=generator))
    translation = 0.02 * torch.randn(count, 3, generator=generator)
    expression = torch.rand(count, 4, generator=generator)
    reach = torch.tensor([0.03, 0.01, 0.002, 0.0])
    train, queries = list(range(0, 20)), list(range(20, 30))

    def squared_distance(i, j):
        angle = float(so3_relative_angle(rotation[i : i + 1], rotation[j : j + 1], eps=1e-2))
        shift = translation[i] - translation[j]
        change = (expression[i] - expression[j]) * reach
        return (0.1 * angle) ** 2 + float(shift @ shift) + float(change @ change)

    expected = [min(train, key=lambda j: squared_distance(i, j)) for i in queries]
    assert nearest_training_frames(queries, train, rotation, translation, expression, reach) == expected


def test_each_part_decides_when_the_others_are_equal():
    rotation = torch.eye(3).repeat(3, 1, 1)
    still, neutral, reach = torch.zeros(3, 3), torch.zeros(3, 2), torch.tensor([0.02, 0.0])

    def nearest(rotation=rotation, translation=still, expression=neutral):
        return nearest_training_frames([2], [0, 1], rotation, translation, expression, reach)

    turned = axis_angle_to_matrix(torch.tensor([[0.0, 0, 0], [0, 0.4, 0], [0, 0.5, 0]]))
    assert nearest(rotation=turned) == [1]
    assert nearest(translation=torch.tensor([[0.0, 0, 0], [0, 0.2, 0], [0, 0.3, 0]])) == [1]
    assert nearest(expression=torch.tensor([[0.0, 0], [0.7, 0], [1, 0]])) == [1]
    # A coefficient that moves nothing decides nothing: the first frame wins the tie.
    assert nearest(expression=torch.tensor([[0.0, 0], [0, 0.7], [0, 1]])) == [0]


def test_a_training_frame_is_its_own_nearest():
    places = torch.arange(5.0)[:, None].expand(5, 3)
    train = [4, 1, 3]
    rotation = torch.eye(3).repeat(5, 1, 1)
    assert nearest_training_frames(train, train, rotation, places, places, torch.ones(3)) == train


def test_reach_is_the_longest_displacement():
    basis = torch.tensor([[[3.0, 4, 0], [1, 0, 0]], [[0.0, 0, 0], [0, 0, -2]]])
    assert expression_reach(basis).tolist() == [5, 2]
