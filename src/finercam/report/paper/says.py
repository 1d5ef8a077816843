"""What the paper says (arXiv 2501.11309): a sentence for each of its figures and tables, and the tables' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

#: Rows of cells; the first is the heading.
Table: TypeAlias = Sequence[Sequence[str]]

#: By the name of a figure or table here.
SAYS: Mapping[str, str] = {
    "similarity": "Figure 1, left: most classes are hardly alike, but each has a few others with a high similarity "
    "of classifier weights, and what speaks for a class speaks for those, too.",
    "concept": "Figures 2 and 11: Grad-CAM of “red epaulets” alone is weak; against “bird” it localises the concept, "
    "which can then be highlighted or masked out. Examples only, no numbers.",
    "comparison": "Figures 4 and 12: Finer-CAM localises discriminative details, gives them more weight, and "
    "suppresses noise in the background.",
    "deletion-curves": "Figure 5: removing the first 20 % of the pixels by Finer-CAM leaves a smaller gap between the "
    "target and the second class than by Grad-CAM. Two example photos.",
    "consistency": "Figure 6a: in photos of one species Finer-CAM highlights the same traits, whatever the pose.",
    "strength": "Figure 6b: the relative drop rises fast with the strength, is highest at 0.8 and falls slightly after "
    "that; the absolute drop likewise. The choice is 0.6 and the aggregation of 3 similar classes.",
    "each-reference": "Figure 7: against different similar classes, different parts are highlighted.",
    "sweep": "Figures 8 and 13: a small strength covers the whole object, a large one only details; at 2 the map is "
    "tighter still; reversed, it finds traits of the similar class.",
    "faithfulness": "Figure 9a: the classifier's map agrees with that of an attribute that tells the two classes apart "
    "(a crest; blue around the head). Two examples.",
    "subtraction": "Figure 9b: subtracting finished maps gives noise, Finer-CAM a clean background.",
    "failures": "Figure 10: where the classifier is wrong, the baseline highlights other things than the object, and "
    "Finer-CAM cannot explain it either.",
    "forest": "Paired differences: the paper gives means without intervals. Here what the contrast changes is taken "
    "photo by photo, and held against controls.",
    "table-1": "Tables 1, 4, 5 and 6: with CLIP's features (1, 4) and DINOv2's (5, 6), deletion hardly changes, the "
    "relative drop and the localisation rise with all three methods.",
    "table-2": "Table 2: compared with the second prediction the relative drop is largest; aggregating three is best "
    "in general (Birds-525, Grad-CAM).",
    "table-3": "Table 3: accuracy of the linear probes, in percent.",
    "table-7": "Table 7: averaging before the ReLU is best by a little (Birds-525, Grad-CAM).",
}

_METRICS = ("Del. ↓", "RD@0.05 ↑", "RD@0.1 ↑", "Loc. ↑")


def _block(title: str, rows: str) -> list[list[str]]:
    """Return rows of one data set, a method's plain and finer numbers in one: six lines of three or four numbers."""
    lines = [line.split() for line in rows.splitlines()]
    pairs = zip(("Grad-CAM", "Layer-CAM", "Score-CAM"), lines[::2], lines[1::2], strict=True)
    return [
        [
            title,
            method,
            *(f"{plain} → {finer}" for plain, finer in zip(before, after, strict=True)),
            *[""] * (4 - len(before)),
        ]
        for method, before, after in pairs
    ]


#: The paper's numbers.
TABLES: Mapping[str, Table] = {
    "table-1": [
        ["data", "method, plain → finer", *_METRICS],
        *_block(
            "Birds-525, CLIP",
            "0.079 0.174 0.245\n0.076 0.192 0.260\n0.071 0.186 0.255\n0.071 0.201 0.270\n0.088 0.151 0.217\n"
            "0.089 0.163 0.227",
        ),
        *_block(
            "CUB, CLIP",
            "0.024 0.101 0.113 0.582\n0.024 0.112 0.121 0.629\n0.023 0.106 0.116 0.625\n0.024 0.110 0.120 0.682\n"
            "0.029 0.090 0.102 0.670\n0.029 0.098 0.109 0.683",
        ),
        *_block(
            "Cars, CLIP",
            "0.024 0.055 0.067 0.561\n0.024 0.060 0.071 0.565\n0.023 0.059 0.069 0.581\n0.023 0.064 0.074 0.592\n"
            "0.027 0.051 0.061 0.565\n0.027 0.054 0.066 0.575",
        ),
        *_block(
            "FishVista, CLIP (Table 4)",
            "0.037 0.177 0.205\n0.039 0.193 0.217\n0.049 0.163 0.181\n0.049 0.196 0.210\n0.051 0.158 0.188\n"
            "0.052 0.174 0.203",
        ),
        *_block(
            "Aircraft, CLIP (Table 4)",
            "0.039 0.097 0.112 0.608\n0.039 0.113 0.127 0.614\n0.037 0.101 0.113 0.662\n0.039 0.113 0.124 0.664\n"
            "0.050 0.074 0.086 0.595\n0.050 0.085 0.094 0.602",
        ),
        *_block(
            "Birds-525, DINOv2 (Table 5)",
            "0.252 0.041 0.069\n0.250 0.049 0.080\n0.254 0.047 0.075\n0.258 0.055 0.079\n0.282 0.042 0.062\n"
            "0.284 0.036 0.064",
        ),
        *_block(
            "CUB, DINOv2 (Table 5)",
            "0.171 0.124 0.157 0.500\n0.165 0.151 0.185 0.530\n0.143 0.174 0.210 0.682\n0.148 0.192 0.230 0.729\n"
            "0.174 0.125 0.157 0.630\n0.176 0.137 0.168 0.640",
        ),
        *_block(
            "Cars, DINOv2 (Table 5)",
            "0.088 0.222 0.280 0.619\n0.091 0.243 0.306 0.632\n0.105 0.210 0.270 0.618\n0.108 0.236 0.294 0.647\n"
            "0.152 0.127 0.173 0.579\n0.152 0.141 0.191 0.586",
        ),
        *_block(
            "FishVista, DINOv2 (Table 6)",
            "0.132 0.206 0.270\n0.135 0.224 0.290\n0.129 0.215 0.278\n0.134 0.220 0.288\n0.154 0.159 0.210\n"
            "0.159 0.173 0.229",
        ),
        *_block(
            "Aircraft, DINOv2 (Table 6)",
            "0.178 0.242 0.309 0.561\n0.178 0.270 0.339 0.586\n0.168 0.286 0.367 0.729\n0.170 0.312 0.383 0.749\n"
            "0.198 0.182 0.257 0.611\n0.203 0.194 0.264 0.653",
        ),
    ],
    "table-2": [
        ["metric", "none", "2nd prediction", "3rd", "4th", "aggregated"],
        ["Del. ↓", "0.079", "0.079", "0.080", "0.081", "0.076"],
        ["RD@0.05 ↑", "0.174", "0.198", "0.178", "0.174", "0.192"],
    ],
    "table-3": [
        ["backbone", "Birds-525", "CUB-200", "Cars", "Aircraft", "FishVista"],
        ["CLIP", "95.3", "58.4", "64.9", "53.9", "64.6"],
        ["DINOv2", "97.5", "66.4", "78.7", "83.9", "79.6"],
    ],
    "table-7": [
        ["metric", "maximum before ReLU", "mean before ReLU", "mean after ReLU"],
        ["Del. ↓", "0.081", "0.080", "0.081"],
        ["RD@0.05 ↑", "0.184", "0.192", "0.191"],
    ],
}
