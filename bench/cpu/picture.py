# Where the time of a step goes: one bar for each type of numbers, as SVG.
# SPDX-License-Identifier: MIT

GROUPS = [
    ("linear layers forward", "#2f5d96", ("linear_forward", "linear_gelu_forward")),
    ("their input gradients", "#4f82bd", ("linear_backward_input",)),
    ("their weight gradients", "#7399c8", ("linear_backward_weight",)),
    ("attention", "#c2703d", ("attention_forward", "attention_backward")),
    ("norms and pointwise", "#5d9c59", ("norm_forward", "norm_backward", "pointwise_forward", "pointwise_backward",
                                        "gelu_backward", "bias_backward")),
    ("update", "#8c6bb1", ("update_parameters", "gradient_norm")),
    ("everything else", "#9a9a9a", ()),
]
WIDTH, LEFT, BAR, GAP = 760, 60, 34, 26


def shares(profile):
    """Milliseconds of each group; the time between kernels is in the last."""
    ms = [0.0] * len(GROUPS)
    for kernel in profile["kernels"]:
        at = next((i for i, (_, _, names) in enumerate(GROUPS) if kernel["name"] in names), len(GROUPS) - 1)
        ms[at] += kernel["ms"]
    ms[-1] += max(0.0, profile["ms"] - sum(ms))
    return ms


def picture(kernels, title):
    """@param kernels  type -> profile"""
    longest = max(profile["ms"] for profile in kernels.values())
    scale = (WIDTH - LEFT - 90) / longest
    height = 40 + len(kernels) * (BAR + GAP) + 24 * ((len(GROUPS) + 2) // 3)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
             f'font-size="13"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             f'<text x="8" y="22" fill="#222222" font-size="15">{title}</text>']
    y = 40
    for type, profile in kernels.items():
        parts.append(f'<text x="8" y="{y + 22}" fill="#222222">{type}</text>')
        x = LEFT
        for (name, colour, _), ms in zip(GROUPS, shares(profile), strict=True):
            width = ms * scale
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">'
                         f'<title>{name}: {ms:.0f} ms</title></rect>')
            if width > 30:
                parts.append(f'<text x="{x + width / 2:.1f}" y="{y + 22}" fill="#ffffff" text-anchor="middle">{ms:.0f}</text>')
            x += width
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 22}" fill="#222222">{profile["ms"]:.0f} ms</text>')
        y += BAR + GAP
    for i, (name, colour, _) in enumerate(GROUPS):
        x, row = LEFT + i % 3 * 230, y + i // 3 * 24
        parts.append(f'<rect x="{x}" y="{row - 12}" width="14" height="14" fill="{colour}"/>'
                     f'<text x="{x + 20}" y="{row}" fill="#222222">{name}</text>')
    return "\n".join(parts + ["</svg>", ""])
