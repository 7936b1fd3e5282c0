import torch

from partnerface.data.completion.labels import labelled_mesh
from partnerface.data.completion.shell import CAP_M, measure_shell
from partnerface.data.regions import Region
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh

HAIR_M = 0.03


def test_shell_reaches_a_hair_cap_of_known_thickness(anny, synthetic_track):
    """The head's silhouette is inflated by 3 cm; the shell must reach all of it and little more."""
    subject = synthetic_track(6)
    skin = anny.faces[anny.part_faces("skin")]
    mesh = labelled_mesh(anny, landmark_geometry(anny))
    face, torso = mesh.vertex_masks()
    scalp = ((mesh.face_depth <= 0) & (mesh.neck_share < 0.5)).float()
    normals = vertex_normals(subject.vertices, skin)
    grown = subject.vertices + HAIR_M * scalp[:, None] * normals
    size = subject.camera.width
    pixels, depth = subject.camera.project(grown)
    head = skin[(mesh.neck_share[skin] < 0.5).all(1)]
    masks = [rasterize_mesh(p, d, head, size, size, False).mask for p, d in zip(pixels, depth, strict=True)]
    labels = torch.where(torch.stack(masks), int(Region.HAIR), int(Region.BACKGROUND)).to(torch.uint8)
    images = torch.zeros(6, size, size, 3, dtype=torch.uint8)
    report = measure_shell(anny, subject.vertices, subject.camera, labels, images, face, torso)
    assert report.unreached_share < 2e-3
    assert report.psnr_ceiling > 30
    assert report.thickness.max() <= CAP_M
    assert 0.02 < report.thickness[scalp > 0].quantile(0.9) < 0.045
    assert report.thickness[face].median() < 0.01


def test_mattes_without_hair_leave_the_floor(anny, synthetic_track):
    subject = synthetic_track(2)
    mesh = labelled_mesh(anny, landmark_geometry(anny))
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    camera = subject.camera.resized(64, 64)
    face, torso = mesh.vertex_masks()
    report = measure_shell(anny, subject.vertices, camera, labels, images, face, torso)
    assert set(report.thickness.unique().tolist()) <= {0.006000000052154064, 0.012000000104308128}
    assert report.unreached_share == 0
