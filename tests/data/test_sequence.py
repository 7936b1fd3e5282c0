from dataclasses import replace

import pytest
import torch

from partnerface.data.sequence import check_head_model, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead


def test_the_right_head_model_passes_and_others_are_named(tmp_path, tiny_video):
    head_model = AnnyHead()
    record = head_model_record(head_model)
    assert record.num_identity == len(head_model.asset.identity_basis)
    sequence = tiny_video().write(tmp_path / "set")
    shell = torch.zeros(len(head_model.template_vertices))
    fitting = replace(sequence, head_model_record=record, shell_thickness=shell)
    check_head_model(fitting, head_model)
    with pytest.raises(UserError, match="shell_thickness is for 10"):
        check_head_model(replace(fitting, shell_thickness=sequence.shell_thickness), head_model)
    for wrong in (
        sequence.head_model_record,
        replace(record, checksum="0123"),
        replace(record, num_expression=3),
    ):
        with pytest.raises(UserError) as caught:
            check_head_model(replace(sequence, head_model_record=wrong), head_model)
        for word in ("tiny", wrong.name, wrong.checksum, record.name, record.checksum):
            assert word in str(caught.value)
