from partnerface.evaluation.split_means import merged


def test_tables_lie_side_by_side_and_regions_may_be_missing():
    images = {"temporal": {"full_frame": {"psnr": 30.0}, "mouth": {"psnr": 25.0}}}
    surface = {"temporal": {"mouth": {"depth_mm": 2.0}}}
    assert merged(images, surface) == {
        "temporal": {"full_frame": {"psnr": 30.0}, "mouth": {"psnr": 25.0, "depth_mm": 2.0}}
    }
    assert images["temporal"]["mouth"] == {"psnr": 25.0}
