// How a report looks: one style sheet for light and dark, wide and narrow pages.
// SPDX-License-Identifier: MIT
#pragma once

namespace sra::report {

/// Colours of runs are those of Okabe and Ito, which people with every kind of colour vision tell apart; in the dark they
/// are lighter.
inline constexpr const char* style = R"css(
:root{color-scheme:light dark;--page:#fdfdfb;--ink:#1b1d20;--soft:#62676f;--line:#e4e4de;--fill:#f3f3ee;--zero:#9a9ea6;
--c0:#5f6670;--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#a8578a;--c5:#b58900;--c6:#3b9bd6;--c7:#111}
@media (prefers-color-scheme:dark){:root{--page:#141619;--ink:#e6e7e9;--soft:#9aa0a9;--line:#2b2f35;--fill:#1c1f24;--zero:#727983;
--c0:#a6adb8;--c1:#56b4e9;--c2:#f0894a;--c3:#2cc69a;--c4:#dd95c1;--c5:#e3bd4b;--c6:#8fd0f5;--c7:#fff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:868px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:25px;line-height:1.25;font-weight:600;letter-spacing:-.01em;margin:0 0 6px}
h2{font-size:17px;font-weight:600;margin:52px 0 4px}
h3{font-size:14px;font-weight:600;margin:24px 0 6px}
p{margin:6px 0 12px;max-width:70ch}
.soft,figcaption,.note{color:var(--soft)}
.note{font-size:13.5px}
a{color:var(--c1);text-decoration-thickness:1px;text-underline-offset:2px}
code{font:13px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
.result{font-size:19px;line-height:1.45;margin:14px 0 4px;max-width:60ch}
.result b{font-weight:600}
.scroll{overflow-x:auto;margin:10px 0}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;vertical-align:top;padding:6px 18px 6px 0;border-bottom:1px solid var(--line)}
th{font-weight:500;color:var(--soft)}
thead th{border-bottom:1px solid var(--zero)}
tbody th{white-space:nowrap;font-weight:400}
.n{text-align:right;white-space:nowrap}
.kicker{color:var(--soft);font-size:13.5px;margin:0 0 2px}
th:last-child,td:last-child{padding-right:0}
.key{display:flex;flex-wrap:wrap;gap:4px 20px;margin:8px 0 10px;font-size:14px}
.key>span::before,.swatch{content:"";display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:7px;background:currentColor;vertical-align:-1px}
.k0{color:var(--c0)}.k1{color:var(--c1)}.k2{color:var(--c2)}.k3{color:var(--c3)}.k4{color:var(--c4)}.k5{color:var(--c5)}.k6{color:var(--c6)}.k7{color:var(--c7)}
.key i{font-style:normal;color:var(--ink)}
.key small{font-size:inherit;color:var(--soft)}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft);font-size:14px}
.chart{display:block;width:100%;height:auto;overflow:visible;margin:6px 0}
.narrow{display:none}
.chart text{font-family:inherit;font-size:12.5px;fill:var(--soft)}
.grid{stroke:var(--line)}.zero{stroke:var(--zero)}
.curve,.thin{fill:none;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}
.thin{stroke-width:1.2;opacity:.65}
.bar{stroke-width:1.4}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.c6{stroke:var(--c6)}.c7{stroke:var(--c7)}
.dot{stroke:none}.dot.c0,.f0{fill:var(--c0)}.dot.c1,.f1{fill:var(--c1)}.dot.c2,.f2{fill:var(--c2)}.dot.c3,.f3{fill:var(--c3)}.dot.c4,.f4{fill:var(--c4)}
.dot.c5,.f5{fill:var(--c5)}.dot.c6,.f6{fill:var(--c6)}.dot.c7,.f7{fill:var(--c7)}
.stack{display:block;width:100%;height:34px;margin:10px 0 4px;border-radius:3px}
.stack .rest{opacity:.34}
.share{display:block;width:84px;height:8px;border-radius:2px;background:var(--fill);margin-left:auto}
.strip{display:flex;gap:14px;overflow-x:auto;padding-bottom:6px}
figure{margin:0;flex:0 0 auto}
figcaption{font-size:13px;margin-top:3px}
img{display:block;max-width:100%;height:auto;border-radius:2px}
img.small{image-rendering:pixelated}
.strip figure{flex:1 0 230px;max-width:400px}
.strip img{width:100%}
footer{margin-top:56px;padding-top:12px;border-top:1px solid var(--line);color:var(--soft);font-size:13.5px}
@media (max-width:640px){main{padding:24px 16px 48px}.wide{display:none}.narrow{display:block}h1{font-size:21px}.result{font-size:17px}
th,td{padding-right:12px}.opt{display:none}.strip figure{flex-basis:210px}}
@media print{main{max-width:none}.strip{flex-wrap:wrap}}
)css";

}  // namespace sra::report
