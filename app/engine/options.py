"""Names of devices and precisions, apart from the code behind them: settings can be read without importing torch."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
