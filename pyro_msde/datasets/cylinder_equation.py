"""Flow past a cylinder in a channel with slip walls: incompressible Navier–Stokes, by ngsolve.

    u_t + (u·∇)u = −∇p + ν Δu,    ∇·u = 0

on [−.5, 7.5] × [−.5, .5] around a cylinder of diameter D = .125 at the origin; u = (1, 0) at the
inflow, no slip on the cylinder, slip on the walls (v = 0, no shear), ν u_n = p n at the outflow;
ν = D/Re. Taylor–Hood elements, P3 for u and P2 for p, on curved triangles that are small at the
cylinder and in its wake; Euler's method in time, implicit in the Stokes part and explicit in
(u·∇)u. The Stokes part's matrix is factorised once, with −ε p q in its zero block: Cholesky's
method, which does not pivot, is stable then, and solves in a sixth of the time of one with pivots.
One correction by the residual takes ε out again, to 10⁻⁹ of a step. It starts from the Stokes flow
with a bump of v behind the cylinder, whose place and size are random: from there vortices grow and
are shed. Or from velocities on a grid, which the first step makes free of divergence.

Convection is explicit: with the usual elements Δt = .001 is stable up to Re = 200 at least, and
Δt = .002 is not there.

`ngsolve` makes it (`pip install 'pyro-msde[cylinder]'`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIAMETER", "EXTENT", "Flow", "Resolution", "centres", "solve_cylinder"]

Array = NDArray[Any]

DIAMETER = 0.125
EXTENT = ((-0.5, 7.5), (-0.5, 0.5))
_DEGREE = 3
_PENALTY = 1e-5  # ε/Δt²: the lowest eigenvalue of the pressure's Schur complement is some .1 Δt²
_WAKE = 0.16  # half of its width at the cylinder


class Flow(NamedTuple):
    """A solution.

    Attributes:
        velocity: (time, 2, x, y) float32, NaN within the cylinder.
        drag: (time,) coefficient c_d = 2 F_x/D.
        lift: (time,) coefficient c_l = 2 F_y/D.
        divergence: (time,) root mean square of ∇·u times D.
    """

    velocity: Array
    drag: Array
    lift: Array
    divergence: Array


@dataclass(frozen=True)
class Resolution:
    """Sizes of elements and time steps.

    Attributes:
        cylinder: Length of an edge on the cylinder.
        wake: Behind the cylinder.
        far: Elsewhere, at most.
        dt: Of time steps.
    """

    cylinder: float = 0.02
    wake: float = 0.045
    far: float = 0.12
    dt: float = 1e-3


def centres(extent: tuple[float, float], count: int) -> Array:
    """Of so many equal cells of an interval."""
    low, high = extent
    return low + (np.arange(count) + 0.5) * (high - low) / count


def solve_cylinder(
    reynolds: float,
    times: Array,
    x: Array,
    y: Array,
    rng: np.random.Generator,
    resolution: Resolution | None = None,
    *,
    bump: tuple[float, float] = (0.02, 0.1),
    start: Array | None = None,
) -> Flow:
    """Velocities on a grid of points.

    Args:
        reynolds: Re = U D/ν, U = 1.
        times: (time,) rising multiples of the time step from 0 on.
        x: (x,) positions.
        y: (y,) positions.
        rng: Of the bump.
        resolution: Of the elements, and in time; None: the usual one.
        bump: Least and greatest height of the bump. Near the cylinder one of .05 has grown to an
            even street by t = 3; smaller ones take longer.
        start: (2, x, y) velocities at t = 0 on the same points, which are evenly spaced then, NaN
            within the cylinder; linear in between, constant beyond the last points. None: the
            Stokes flow and the bump. There is no pressure yet, so that forces at t = 0 say nothing.

    Raises:
        ModuleNotFoundError: `ngsolve` is not installed.
        FloatingPointError: The velocities grew beyond any sense: the step is too long.
    """
    resolution = Resolution() if resolution is None else resolution
    solver = _Solver(reynolds, resolution)
    if start is None:
        solver.start(rng, bump)
    else:
        solver.start_from(start, x, y)
    px, py = (p.ravel() for p in np.meshgrid(x, y, indexing="ij"))
    fluid = np.hypot(px, py) > 0.5 * DIAMETER
    places = solver.mesh(px[fluid], py[fluid])
    out = Flow(
        np.full((len(times), 2, len(px)), np.nan, dtype=np.float32),
        *(np.empty(len(times)) for _ in range(3)),
    )
    step = 0
    for k, t in enumerate(times):
        while step < round(t / resolution.dt):
            solver.advance()
            step += 1
        out.velocity[k][:, fluid] = solver.velocity(places).T
        out.drag[k], out.lift[k] = solver.forces()
        out.divergence[k] = solver.divergence()
        if not np.abs(out.velocity[k][:, fluid]).max() < 10:  # NaN neither
            raise FloatingPointError(
                f"t={t:g}: velocities above 10. Take shorter steps than {resolution.dt:g}."
            )
    return out._replace(velocity=out.velocity.reshape(len(times), 2, len(x), len(y)))


class _Solver:
    """The matrices, and where the solution stands."""

    def __init__(self, reynolds: float, resolution: Resolution) -> None:
        try:
            import ngsolve as ng
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "ngsolve is not installed. Install it with pip install 'pyro-msde[cylinder]'."
            ) from error
        self.ng, self.dt = ng, resolution.dt
        self.mesh = _mesh(ng, resolution)
        fixed = "inflow|cylinder"
        velocities = ng.VectorH1(
            self.mesh, order=_DEGREE, dirichlet=fixed, dirichlety=f"wall|{fixed}"
        )
        space = velocities * ng.H1(self.mesh, order=_DEGREE - 1)
        self.free = space.FreeDofs()
        self.nu = DIAMETER / reynolds
        (u, p), (v, q) = space.TnT()
        form = (
            self.nu * ng.InnerProduct(ng.Grad(u), ng.Grad(v)) - ng.div(u) * q - ng.div(v) * p
        ) * ng.dx
        self.stokes = ng.BilinearForm(form).Assemble().mat
        implicit = ng.InnerProduct(u, v) * ng.dx + self.dt * form
        self.implicit = ng.BilinearForm(implicit).Assemble().mat
        compressible = implicit - _PENALTY * self.dt**2 * p * q * ng.dx
        factorised = ng.BilinearForm(compressible).Assemble().mat
        self.inverse = factorised.Inverse(self.free, inverse="sparsecholesky")
        self.convection = ng.BilinearForm(space, nonassemble=True)
        self.convection += ng.InnerProduct(ng.Grad(u) * u, v) * ng.dx
        self.state = ng.GridFunction(space)
        self.residual, self.change = (self.state.vec.CreateVector() for _ in range(2))
        self.fluid_area = ng.Integrate(1.0, self.mesh)

    def start(self, rng: np.random.Generator, sizes: tuple[float, float]) -> None:
        """The Stokes flow, and the bump."""
        ng, state = self.ng, self.state
        flow = state.components[0]
        flow.Set(ng.CF((1.0, 0.0)), definedon=self.mesh.Boundaries("inflow"))
        self.change.data = -self.stokes * state.vec
        state.vec.data += self.stokes.Inverse(self.free, inverse="umfpack") * self.change
        x0, y0 = rng.uniform(0.15, 0.5), rng.uniform(-0.15, 0.15)
        size = rng.choice([-1, 1]) * rng.uniform(*sizes)
        bump = ng.GridFunction(state.space)
        square = (ng.x - x0) ** 2 + (ng.y - y0) ** 2
        bump.components[0].Set(ng.CF((0.0, size * ng.exp(-square / 0.05**2))))
        free = np.fromiter(self.free, dtype=bool, count=len(self.free))
        state.vec.FV().NumPy()[free] += bump.vec.FV().NumPy()[free]

    def start_from(self, velocity: Array, x: Array, y: Array) -> None:
        """Velocities (2, x, y) on even points, zero where they are NaN."""
        ng, state = self.ng, self.state
        ends = (x[0], y[0]), (x[-1], y[-1])
        parts = [
            ng.VoxelCoefficient(*ends, np.ascontiguousarray(np.nan_to_num(part.T), float))
            for part in velocity
        ]
        given = ng.GridFunction(state.space)
        given.components[0].Set(ng.CF(tuple(parts)))
        state.components[0].Set(ng.CF((1.0, 0.0)), definedon=self.mesh.Boundaries("inflow"))
        free = np.fromiter(self.free, dtype=bool, count=len(self.free))
        state.vec.FV().NumPy()[free] = given.vec.FV().NumPy()[free]

    def advance(self) -> None:
        """One step: (M + Δt A) δ = −Δt (A u + C(u) u)."""
        self.convection.Apply(self.state.vec, self.residual)
        self.residual.data += self.stokes * self.state.vec
        self.change.data = self.inverse * self.residual
        self.residual.data -= self.implicit * self.change
        self.change.data += self.inverse * self.residual
        self.state.vec.data -= self.dt * self.change

    def velocity(self, places: Any) -> Array:
        """(place, 2)."""
        return np.asarray(self.state.components[0](places))

    def forces(self) -> tuple[float, float]:
        """Coefficients of drag and lift, of the stress on the cylinder."""
        ng = self.ng
        flow, pressure = self.state.components
        n = ng.specialcf.normal(2)  # out of the fluid, into the cylinder
        stress = self.nu * (ng.Grad(flow) + ng.Grad(flow).trans) * n - pressure * n
        around = ng.BoundaryFromVolumeCF(stress)
        total = ng.Integrate(around, self.mesh, definedon=self.mesh.Boundaries("cylinder"))
        return tuple(-2.0 * float(f) / DIAMETER for f in total)  # type: ignore[return-value]

    def divergence(self) -> float:
        """Root mean square, times D."""
        ng = self.ng
        square = ng.Integrate(ng.div(self.state.components[0]) ** 2, self.mesh)
        return float(DIAMETER * np.sqrt(square / self.fluid_area))


def _mesh(ng: Any, resolution: Resolution) -> Any:
    """Curved triangles."""
    from netgen.geom2d import SplineGeometry
    from netgen.meshing import MeshingParameters

    (x0, x1), (y0, y1) = EXTENT
    shape = SplineGeometry()
    shape.AddRectangle((x0, y0), (x1, y1), bcs=("wall", "outflow", "wall", "inflow"))
    shape.AddCircle(
        (0, 0), 0.5 * DIAMETER, leftdomain=0, rightdomain=1, bc="cylinder", maxh=resolution.cylinder
    )
    sizes = MeshingParameters(maxh=resolution.far, grading=0.2)
    for along in np.linspace(0.0, x1, 80):
        for across in np.linspace(-1.0, 1.0, 5) * _WAKE:
            sizes.RestrictH(along, across, 0, resolution.wake * (1 + 0.1 * along))
    mesh = ng.Mesh(shape.GenerateMesh(sizes))
    mesh.Curve(_DEGREE)
    return mesh
