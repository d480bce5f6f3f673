# SPDX-License-Identifier: Apache-2.0
"""A few records that have something of everything."""

IDS = ["dog", "bird", "none", "fish"]
VECTORS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.8, 0.0]]
DOCUMENTS = ["A dog barks.", "Ein Vögelchen singt 鳥", None, "100% fish_and\nchips (50 \\ 2)"]
METADATAS = [
    {"kind": "mammal", "legs": 4, "weight": 9.5, "tame": True, "tags": ["loud", "brown"]},
    {"kind": "bird", "legs": 2, "weight": 0.25, "tame": False, "sizes": [1, 2, 3]},
    None,
    {"kind": "fish", "legs": 0, "weight": 2.0, "ratios": [0.5, 1.0], "flags": [True, False]},
]
URIS = ["file:///dog", None, None, "https://fish.example/ü"]
