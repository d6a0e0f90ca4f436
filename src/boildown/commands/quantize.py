"""`boildown quantize`."""

import argparse

from boildown.commands.options import Commands, Files, reworking


def add(commands: Commands) -> None:
    """Add the command to others."""
    about = "a trained run's network with few bits, without training, as a .boil file"
    command = reworking(commands, "quantize", about, "quantized.boil")
    _add_widths(command)
    command.set_defaults(run=run)


def _add_widths(command: argparse.ArgumentParser) -> None:
    """How few bits, and how."""
    command.add_argument(
        "--bits",
        nargs="+",
        default=["8"],
        metavar="BITS",
        help="of weights, 2 to 8 or ternary, or PATTERN=BITS such as 'fc1=4' '*=8'; default: 8",
    )
    command.add_argument(
        "--activations",
        nargs="+",
        default=[],
        metavar="BITS",
        help="of the inputs of linear and convolution layers, likewise; default: as they are",
    )
    command.add_argument(
        "--allocation",
        choices=("trace", "measured"),
        help="spread the bits where they do most, within what --bits takes: by the curvature of "
        "the loss, or by the loss itself; default: as they are given",
    )
    command.add_argument(
        "--unit",
        choices=("bytes", "bits", "operations"),
        default="bytes",
        help="with --allocation, what --bits is a budget of: bytes of the file, bits of the codes, "
        "or products of a sample times bits; default: bytes",
    )
    command.add_argument(
        "--group",
        nargs="+",
        action="append",
        default=[],
        metavar="PATTERN",
        help="with --allocation, weights that get one number of bits; may be given several times",
    )
    command.add_argument(
        "--method",
        default="nearest",
        metavar="{nearest,gptq,adaround}",
        help="to the nearest values, or so that the layers' outputs change least; default: nearest",
    )
    command.add_argument(
        "--granularity",
        default="channel",
        metavar="G",
        help="what has a step of its own: channel, tensor, or so many inputs, such as 64; "
        "default: channel",
    )
    command.add_argument(
        "--outliers",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="of the weights of linear layers, such as 0.01, that keep 16 bits, in the columns "
        "that few bits cost most; default: 0",
    )


def run(args: argparse.Namespace) -> None:
    """Quantize a run's network without training, into a new file."""
    from boildown.commands.quantizing import Asked, quantize_file

    asked = Asked(
        bits=args.bits,
        activations=args.activations,
        method=args.method,
        granularity=args.granularity,
        exclude=args.exclude,
        outliers=args.outliers,
        samples=args.samples,
        allocation=args.allocation,
        unit=args.unit,
        groups=args.group,
    )
    quantize_file(Files.of(args), asked, as_json=args.json)
