"""Text of equations against terms written by hand; bad text is refused with where it is bad."""

from __future__ import annotations

import pytest

from pyro_msde.equations import Names, Term, axis_letters, equation_text, library, parsed, written

ONE = Names.usual(1, 1, ["nu"])
TWO = Names.usual(2, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u_t = 2*u_xx", {Term((1,), (2,)): 2.0}),
        ("u_t = -u*u_x", {Term((2,), (1,)): -0.5}),
        ("u_t = 3*u^2*u_x", {Term((3,), (1,)): 1.0}),
        ("u_t = nu*u_xx - .5*nu*u_xx", {Term((1,), (2,), 0): 0.5}),
        ("u_t=-0.5*(u^2)_x+1e-3", {Term((2,), (1,)): -0.5, Term((0,), (0,)): 1e-3}),
        ("u_t = u - u^3", {Term((1,), (0,)): 1.0, Term((3,), (0,)): -1.0}),
        ("u_t = 0*u", {}),
    ],
)
def test_one_equation(text: str, expected: dict[Term, float]) -> None:
    """Coefficients of terms by hand; u u_x is ½ (u²)_x."""
    assert parsed(text, ONE) == [expected]


def test_two_fields_in_two_dimensions() -> None:
    """Each field has its own equation, in any order."""
    found = parsed("v_t = (u*v)_y + v_xx; u_t = -(u^2)_x + u*v", TWO)
    assert found == [
        {Term((2, 0), (1, 0)): -1.0, Term((1, 1), (0, 0)): 1.0},
        {Term((1, 1), (0, 1)): 1.0, Term((0, 1), (2, 0)): 1.0},
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a name is missing at character 1"),
        ("u_t = ", "a name is missing at character 7"),
        ("u_t = __import__('os')", "a sign that no equation has at character 18"),
        ("u_t = exp(u)", "exp is no field and no covariate at character 7"),
        ("w_t = u", "w is no field at character 1"),
        ("u_x = u", "no derivative by t at character 3"),
        ("u_t = u_xx*u_x", "no derivative of a product"),
        ("u_t = u*u_xx", "no derivative of a product"),
        ("u_t = u^2_x", "has brackets"),
        ("u_t = u_q", "q are no axes"),
        ("u_t = u^9", "a power or an order above 8"),
        ("u_t = nu*nu*u", "two covariates"),
        ("u_t = 1e400*u_xx", "too large"),
        ("u_t = u; u_t = u", "u has two equations"),
        ("u_t = (u", "'\\)' is missing"),
        ("u_t = u u", "not understood"),
        ("u_t = u^nu", "a whole number is missing"),
        ("u_t = " + "u + " * 2000 + "u", "characters, and 4096 are the most"),
    ],
)
def test_what_is_no_equation_is_refused(text: str, why: str) -> None:
    """With where it is wrong."""
    with pytest.raises(ValueError, match=why):
        parsed(text, ONE)


def test_each_field_needs_an_equation() -> None:
    """The one that lacks is named."""
    with pytest.raises(ValueError, match="none for v"):
        parsed("u_t = u", TWO)


def test_terms_are_written_as_they_are_read() -> None:
    """Every term of the libraries comes back from its text, alone and with a coefficient."""
    for names, terms in ((ONE, library(1, 1, 1)), (TWO, library(2, 2))):
        for term in terms:
            rest = "; v_t = u" if len(names.fields) == 2 else ""
            text = equation_text("u", [(-0.25, written(term, names))])
            assert parsed(text + rest, names)[0] == {term: -0.25}


def test_powers_of_slopes_are_products() -> None:
    """u_x^2 is u_x u_x."""
    names = Names.usual(1, 1)
    assert parsed("u_t = u_x^2", names) == parsed("u_t = u_x*u_x", names)
    with pytest.raises(ValueError, match="above 8"):
        parsed("u_t = u_x^99", names)


def test_the_library_of_one_field_on_a_line() -> None:
    """One, u, u², u³ with none to four derivatives, and u_x²."""
    assert len(library(1, 1)) == 17
    assert len(library(1, 1, 2)) == 51


@pytest.mark.parametrize(
    ("dims", "letters"),
    [
        (("y", "x"), "yx"),
        (("lat", "lon"), "yx"),
        (("latitude", "x"), "yx"),
        (("x",), "x"),
        (("lon", "x"), None),
        (("u",), None),
        (("t", "x"), None),
        (("level", "lat"), None),
    ],
)
def test_axes_have_letters_of_their_own(dims: tuple[str, ...], letters: str | None) -> None:
    """The data's, if they are letters and no field's; those of maps for longitudes."""
    assert axis_letters(dims, 1) == letters
    if letters is not None:
        names = Names.usual(1, len(dims), axes=letters)
        (row,) = parsed(f"u_t = u_{letters[-1] * 2}", names)
        (term,) = row
        assert term.derivative == (*(0,) * (len(dims) - 1), 2)
        assert written(term, names) == f"u_{letters[-1] * 2}"
