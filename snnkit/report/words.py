"""Numbers as words, alike on the page and in the terminal."""

__all__ = ["hertz", "number", "percent", "points", "relative_error", "seconds", "sentence", "watts"]

_MINUTE = 60
_SMALLEST_ERROR = 1e-5


def sentence(text: str) -> str:
    """Begin with a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def percent(fraction: float) -> str:
    """``0.97`` as ``97.0 %``, and ``1`` as ``100 %``."""
    text = f"{100 * fraction:.1f} %"
    return "100 %" if text == "100.0 %" and fraction >= 1 else text.replace("100.0", "99.9")


def points(difference: float, same: str = "no difference") -> str:
    """Difference of two fractions in percentage points, such as ``+0.5 points``."""
    if abs(difference) < 5e-4:
        return same
    return f"{100 * difference:+.1f} points".replace("-", "\N{MINUS SIGN}")


def number(value: float) -> str:
    """Whole numbers with commas; others with at most two decimals."""
    if float(value).is_integer():
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) >= 0.01 else f"{value:.2g}"


def relative_error(value: float | None) -> str:
    """``0.0031`` as ``0.31 %``; a dash where there is nothing to measure."""
    if value is None:
        return "\N{EN DASH}"
    return f"{100 * value:.2g} %" if value == 0 or value >= _SMALLEST_ERROR else "< 0.001 %"


def seconds(value: float) -> str:
    """``74.2`` as ``1 min 14 s``."""
    return f"{value:.1f} s" if value < _MINUTE else f"{int(value) // _MINUTE} min {int(value) % _MINUTE} s"


def hertz(value: float) -> str:
    """``1.25e6`` as ``1.25 MHz``."""
    return _scaled(value, "Hz", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))


def watts(value: float) -> str:
    """``2.9e-4`` as ``290 µW``."""
    return _scaled(value, "W", ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")))


def _scaled(value: float, unit: str, steps: tuple[tuple[float, str], ...]) -> str:
    size, prefix = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    return f"{value / size:.3g} {prefix}{unit}"
