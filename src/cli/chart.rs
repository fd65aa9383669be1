//! Charts as self-contained SVG: horizontal bars, and curves over two axes. No fonts, scripts or styles from elsewhere.

use std::fmt::Write;

/// Width of every chart, in pixels.
const WIDTH: f64 = 760.0;

const MARGIN: f64 = 24.0;

/// Colours that differ in brightness too, for those who see fewer of them (after Okabe and Ito).
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A bar with its spread, and whether it is drawn as doubtful.
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// Smallest and largest value that went into it.
    pub spread: (f64, f64),
    pub is_doubtful: bool,
}

/// Points that belong together, in order.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A drawing of a known height.
struct Drawing {
    height: f64,
    body: String,
}

/// Charts below one another.
#[derive(Default)]
pub struct Charts {
    drawings: Vec<Drawing>,
}

impl Charts {
    /// Horizontal bars from zero, with their values in `unit`.
    pub fn bars(&mut self, title: &str, unit: &str, bars: &[Bar]) {
        const BAR_PITCH: f64 = 46.0;
        const VALUES_WIDTH: f64 = 140.0;
        let full_width = WIDTH - 2.0 * MARGIN - VALUES_WIDTH;
        let largest = bars.iter().map(|bar| bar.spread.1.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| MARGIN + value / largest * full_width;
        let mut drawing = Drawing::with_title(title);
        for bar in bars {
            let top = drawing.height;
            drawing.text(MARGIN, top + 12.0, "start", &bar.label);
            let (opacity, note) = if bar.is_doubtful { (0.35, ", not valid") } else { (1.0, "") };
            let width = x(bar.value) - MARGIN;
            drawing.add(format_args!(
                r#"<rect x="{MARGIN}" y="{:.1}" width="{width:.1}" height="16" fill="{}" fill-opacity="{opacity}"/>"#,
                top + 18.0,
                COLORS[0]
            ));
            let (low, high) = (x(bar.spread.0), x(bar.spread.1));
            drawing.line((low, top + 26.0), (high, top + 26.0), "#333");
            drawing.text(
                high.max(x(bar.value)) + 8.0,
                top + 30.0,
                "start",
                &format!("{} {unit}{note}", short(bar.value)),
            );
            drawing.height += BAR_PITCH;
        }
        self.drawings.push(drawing);
    }

    /// Curves over a linear x axis from zero and a logarithmic y axis. Points that are not positive are left out.
    pub fn curves(&mut self, title: &str, (x_label, y_label): (&str, &str), series: &[Series]) {
        const PLOT_HEIGHT: f64 = 300.0;
        const AXIS_WIDTH: f64 = 52.0;
        let points = || series.iter().flat_map(|series| &series.points).filter(|(x, y)| *x >= 0.0 && *y > 0.0);
        let x_max = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max) * 1.05;
        let y_exponent = |pick: fn(f64, f64) -> f64, from: f64| points().map(|point| point.1.log10()).fold(from, pick);
        let y_low = y_exponent(f64::min, f64::INFINITY).floor().clamp(-12.0, 12.0);
        let y_high = y_exponent(f64::max, f64::NEG_INFINITY).ceil().clamp(y_low + 1.0, 13.0);
        let mut drawing = Drawing::with_title(title);
        let (left, right) = (MARGIN + AXIS_WIDTH, WIDTH - MARGIN);
        let top = drawing.height + 20.0;
        let bottom = top + PLOT_HEIGHT;
        let x = |value: f64| left + value / x_max * (right - left);
        let y = |value: f64| bottom - (value.log10() - y_low) / (y_high - y_low) * PLOT_HEIGHT;
        drawing.text(MARGIN, top - 8.0, "start", y_label);
        for exponent in y_low as i32..=y_high as i32 {
            let value = 10f64.powi(exponent);
            drawing.line((left, y(value)), (right, y(value)), "#ddd");
            drawing.text(left - 6.0, y(value) + 4.0, "end", &short(value));
        }
        let step = round_step(x_max / 8.0);
        for tick in 0..=(x_max / step) as u32 {
            let value = f64::from(tick) * step;
            drawing.line((x(value), bottom), (x(value), bottom + 5.0), "#333");
            drawing.text(x(value), bottom + 20.0, "middle", &short(value));
        }
        drawing.line((left, bottom), (right, bottom), "#333");
        drawing.text(right, bottom + 38.0, "end", x_label);
        for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
            let seen = series.points.iter().filter(|(x, y)| *x >= 0.0 && *y > 0.0);
            let places: Vec<(f64, f64)> = seen.map(|point| (x(point.0), y(point.1))).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            drawing.add(format_args!(r#"<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#));
            for (x, y) in places {
                drawing.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#));
            }
        }
        drawing.height = bottom + 52.0;
        for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
            let top = drawing.height;
            drawing.add(format_args!(r#"<rect x="{left}" y="{top:.1}" width="14" height="10" fill="{color}"/>"#));
            drawing.text(left + 20.0, top + 10.0, "start", &series.name);
            drawing.height += 20.0;
        }
        self.drawings.push(drawing);
    }

    /// The whole file; `caption` stands at its foot.
    pub fn to_svg(&self, caption: &str) -> String {
        let mut top = 0.0;
        let mut body = String::new();
        for Drawing { height, body: drawing } in &self.drawings {
            let _ = writeln!(body, r#"<g transform="translate(0,{top:.1})">{drawing}</g>"#);
            top += height + MARGIN;
        }
        let height = top + MARGIN;
        let mut foot = Drawing { height: 0.0, body: String::new() };
        foot.text(MARGIN, top + 4.0, "start", caption);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#111\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             {body}{}\n</svg>\n",
            foot.body
        )
    }
}

impl Drawing {
    fn with_title(title: &str) -> Self {
        let mut drawing = Self { height: MARGIN + 34.0, body: String::new() };
        let title = escape(title);
        drawing.add(format_args!(
            r#"<text x="{MARGIN}" y="{}" font-size="16" font-weight="bold">{title}</text>"#,
            MARGIN + 14.0
        ));
        drawing
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}"/>"#));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with three digits or so.
fn short(value: f64) -> String {
    let decimals = if value == 0.0 { 0.0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0) };
    let text = format!("{value:.*}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|round| *round >= step).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_steps_round() {
        assert_eq!([0.0, 1.0, 12345.6, 12.34, 0.1, 0.01234].map(short), ["0", "1", "12346", "12.3", "0.1", "0.0123"]);
        assert_eq!([0.9, 1.1, 3.0, 7.0, 50.0].map(round_step), [1.0, 2.0, 5.0, 10.0, 50.0]);
    }

    #[test]
    fn a_chart_holds_its_texts_escaped_and_every_point() {
        let mut charts = Charts::default();
        let bar = |value, is_doubtful| Bar { label: "a<b".into(), value, spread: (value, value), is_doubtful };
        charts.bars("rates & more", "images/s", &[bar(2.0, false), bar(1.0, true)]);
        let points = vec![(1.0, 10.0), (2.0, 20.0), (3.0, 0.0)];
        charts.curves("latency", ("images/s", "ms"), &[Series { name: "p50".into(), points }]);
        let svg = charts.to_svg("made by hand");
        assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("rates &amp; more") && svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("1 images/s, not valid") && svg.contains("made by hand"));
        assert_eq!(svg.matches("<circle").count(), 2, "a latency of zero has no place on a logarithmic axis");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_to_draw_is_drawn_as_nothing() {
        let mut charts = Charts::default();
        charts.bars("no bars", "images/s", &[]);
        charts.curves("no points", ("x", "y"), &[]);
        let svg = charts.to_svg("");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
