"""Files that run without boildown: ONNX with integer weights, torch.export, safetensors."""

from boildown.exporting.file import Exported, export

__all__ = ["Exported", "export"]
