"""Pixels as Qt shows them. Every function may be called from any thread: QImage, unlike QPixmap, allows it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRect, Qt
from PySide6.QtGui import QColor, QColorSpace, QImage, QImageWriter, QPainter, QPen

from photoshop_plugin.generation import Prepared
from scumble.client import ColorSpace, Pixels

THUMBNAIL_SIDE = 256
TINT = (230, 60, 60)
"""Of what is selected, sRGB."""


def to_image(pixels: Pixels) -> QImage:
    """Pixels of 1, 3 or 4 channels, any sample type, in sRGB for the screen; an unreadable profile counts as sRGB."""
    samples = pixels.numpy()
    if samples.dtype == np.uint8:
        array = samples
    else:
        unit = samples.astype(np.float32) / pixels.sample_type.full_scale
        array = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    height, width, channels = array.shape
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
        channels = 3
    kind = QImage.Format.Format_RGB888 if channels == 3 else QImage.Format.Format_RGBA8888
    data = np.ascontiguousarray(array)
    image = QImage(data.data, width, height, channels * width, kind).copy()
    space = QColorSpace(QColorSpace.NamedColorSpace.SRgb)
    if pixels.color_space == ColorSpace.ICC:
        space = QColorSpace.fromIccProfile(QByteArray(pixels.icc_profile))
    elif pixels.color_space == ColorSpace.LINEAR_REC709:
        space = QColorSpace(QColorSpace.NamedColorSpace.SRgbLinear)
    if space.isValid():
        image.setColorSpace(space)
        image.convertToColorSpace(QColorSpace(QColorSpace.NamedColorSpace.SRgb))
    return image


def thumbnail(pixels: Pixels) -> bytes:
    """A PNG of at most 256 px a side."""
    return to_png(_within(to_image(pixels), THUMBNAIL_SIDE))


def to_png(image: QImage) -> bytes:
    """PNG bytes."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, QByteArray(b"png")).write(image)
    return bytes(data.data())


def request_picture(prepared: Prepared, side: int = 512) -> QImage | None:
    """What will be sent: the context, what is selected tinted, and the mask's bounds as a dashed box. None where
    nothing was read."""
    if prepared.capture is None:
        return None
    image = to_image(prepared.capture.image).convertToFormat(QImage.Format.Format_RGB32)
    mask = prepared.capture.selection
    coverage = mask.numpy()[..., 0].astype(np.float32) / mask.sample_type.full_scale
    height, width = coverage.shape
    tint = np.empty((height, width, 4), np.uint8)
    tint[..., :3] = TINT
    tint[..., 3] = np.rint(coverage * 110).astype(np.uint8)
    layer = QImage(tint.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    painter = QPainter(image)
    painter.drawImage(0, 0, layer)
    pen = QPen(QColor("white"), max(1.0, max(width, height) / 256), Qt.PenStyle.DashLine)
    painter.setPen(pen)
    plan = prepared.plan
    if plan is not None:
        x, y = plan.mask.x - plan.context.x, plan.mask.y - plan.context.y
        painter.drawRect(QRect(x, y, plan.mask.width - 1, plan.mask.height - 1))
    painter.end()
    return _within(image, side)


def _within(image: QImage, side: int) -> QImage:
    if max(image.width(), image.height()) <= side:
        return image
    return image.scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
