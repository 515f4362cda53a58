"""What a request may hold: the types of the routes' arguments, each with its bounds.

A route's annotations are all that checks its input, so every number is finite and bounded, and every list has an end.
"""

from typing import Annotated, Literal

from pydantic import Field

BODY = 1 << 20  # bytes of a JSON body
UPLOAD = 8 << 20  # bytes of an image's file
SHEET = 1 << 22  # pixels of the pictures in one answer
DEPTH = 16  # of JSON within JSON

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Ids = Annotated[str, Field(pattern=r"^[0-9a-f]{12}(,[0-9a-f]{12}){0,63}$")]
Coordinate = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
Code = Annotated[list[Coordinate], Field(min_length=1, max_length=4096)]
Codes = Annotated[list[Code], Field(min_length=1, max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Few = Annotated[int, Field(ge=1, le=64)]
Row = Annotated[int, Field(ge=0, lt=2**31)]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=2, le=60)]
Anchors = Annotated[list[Code], Field(min_length=2, max_length=16)]
Rows = Annotated[list[Row | None], Field(max_length=16)]
Pace = Annotated[int, Field(ge=1, le=50)]
Path = Literal["linear", "spherical"]
Split = Literal["train", "validation", "test"]
Name = Annotated[str, Field(min_length=1, max_length=255)]
# a part that has a name, or of each pixel, row by row, 1 where it is missing
Mask = Annotated[str, Field(pattern=r"^([01]+|left|right|top|bottom|centre)$", max_length=1 << 19)]
Chains = Annotated[int, Field(ge=0, le=2000)]  # steps of each
Strength = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Points = Annotated[int, Field(ge=10, le=5000)]
Since = Annotated[str, Field(pattern=r"^\d{1,20}-\d{1,16}(,\d{1,20}-\d{1,16}){2}$")]  # marks in three growing files
Text = Annotated[str, Field(max_length=500)]
