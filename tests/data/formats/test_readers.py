"""Every reader of ours holds the contract of readers."""

import pytest

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.synthetic.reader import SyntheticReader
from tests.contracts.sequence_reader_contract import SequenceReaderContract


class TestSyntheticReader(SequenceReaderContract):
    @pytest.fixture
    def reader(self, synthetic_dataset) -> SyntheticReader:
        return SyntheticReader(synthetic_dataset, frames=24, size=32)


class TestPartnerfaceReader(SequenceReaderContract):
    @pytest.fixture
    def reader(self, synthetic_dataset) -> PartnerfaceReader:
        return PartnerfaceReader(synthetic_dataset)
