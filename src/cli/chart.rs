//! Charts as self-contained SVG: horizontal bars, curves over two axes, and rooflines. No fonts, scripts or styles from elsewhere.

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

/// What limits a roofline: y is at most `slope` times x, and at most `ceiling`.
pub struct Roof {
    pub slope: f64,
    pub ceiling: f64,
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
    pub fn curves(&mut self, title: &str, labels: (&str, &str), series: &[Series]) {
        let seen = |point: &&(f64, f64)| point.0 >= 0.0 && point.1 > 0.0;
        let points = || series.iter().flat_map(|series| &series.points).filter(seen);
        let mut plot = Plot::new(
            title,
            labels,
            Axis::linear(points().map(|point| point.0)),
            Axis::logarithmic(points().map(|point| point.1)),
        );
        for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
            let points: Vec<(f64, f64)> = series.points.iter().filter(seen).copied().collect();
            plot.line(&points, color);
            plot.dots(&points, color);
        }
        self.drawings.push(plot.with_legend(series));
    }

    /// Points, one a series, over two logarithmic axes, below the roof. Points that are not positive are left out.
    pub fn roofline(&mut self, title: &str, labels: (&str, &str), roof: Roof, series: &[Series]) {
        let seen = |point: &&(f64, f64)| point.0 > 0.0 && point.1 > 0.0;
        let points = || series.iter().flat_map(|series| &series.points).filter(seen);
        let ridge = roof.ceiling / roof.slope;
        let xs = || points().map(|point| point.0).chain([ridge]);
        let x_axis = Axis::logarithmic(xs());
        let (x_low, x_high) = x_axis.range();
        let y_axis = Axis::logarithmic(points().map(|point| point.1).chain([roof.ceiling]));
        // The roof begins where it enters the plot.
        let left = x_low.max(y_axis.range().0 / roof.slope).min(ridge);
        let mut plot = Plot::new(title, labels, x_axis, y_axis);
        plot.line(&[(left, left * roof.slope), (ridge, roof.ceiling), (x_high, roof.ceiling)], "#333");
        for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
            plot.dots(&series.points.iter().filter(seen).copied().collect::<Vec<_>>(), color);
            if let Some((x, y)) = series.points.iter().find(seen) {
                plot.label((*x, *y), &series.name);
            }
        }
        self.drawings.push(plot.drawing);
    }

    /// The whole file; the lines of `caption` stand at its foot.
    pub fn to_svg(&self, caption: &str) -> String {
        let mut top = 0.0;
        let mut body = String::new();
        for Drawing { height, body: drawing } in &self.drawings {
            let _ = writeln!(body, r#"<g transform="translate(0,{top:.1})">{drawing}</g>"#);
            top += height + MARGIN;
        }
        let mut foot = Drawing { height: 0.0, body: String::new() };
        for line in caption.lines() {
            foot.text(MARGIN, top + 4.0, "start", line);
            top += 18.0;
        }
        let height = top + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#111\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             {body}{}\n</svg>\n",
            foot.body
        )
    }
}

/// How values are spread along an axis.
#[derive(Clone, Copy)]
enum Axis {
    /// From zero to this.
    Linear(f64),
    /// Between these powers of ten.
    Logarithmic(f64, f64),
}

impl Axis {
    /// From zero to a little more than the largest value.
    fn linear(values: impl Iterator<Item = f64>) -> Self {
        Self::Linear(values.fold(f64::MIN_POSITIVE, f64::max) * 1.05)
    }

    /// From the power of ten below the smallest value to that above the largest.
    fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value.log10()), most.max(value.log10()))
        });
        let low = least.floor().clamp(-12.0, 12.0);
        Self::Logarithmic(low, most.ceil().clamp(low + 1.0, 16.0))
    }

    fn range(self) -> (f64, f64) {
        match self {
            Self::Linear(max) => (0.0, max),
            Self::Logarithmic(low, high) => (10f64.powf(low), 10f64.powf(high)),
        }
    }

    /// Where a value lies, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear(max) => value / max,
            Self::Logarithmic(low, high) => (value.log10() - low) / (high - low),
        }
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(max) => {
                let step = round_step(max / 8.0);
                (0..=(max / step) as u32).map(|tick| f64::from(tick) * step).collect()
            }
            Self::Logarithmic(low, high) => (low as i32..=high as i32).map(|exponent| 10f64.powi(exponent)).collect(),
        }
    }
}

/// A drawing with two axes.
struct Plot {
    drawing: Drawing,
    axes: (Axis, Axis),
    top: f64,
}

impl Plot {
    const HEIGHT: f64 = 300.0;
    const LEFT: f64 = MARGIN + 52.0;
    const RIGHT: f64 = WIDTH - MARGIN;

    /// Both axes, with lines across at the ticks of y.
    fn new(title: &str, (x_label, y_label): (&str, &str), x_axis: Axis, y_axis: Axis) -> Self {
        let mut drawing = Drawing::with_title(title);
        let top = drawing.height + 20.0;
        drawing.text(MARGIN, top - 8.0, "start", y_label);
        let mut plot = Self { drawing, axes: (x_axis, y_axis), top };
        for value in y_axis.ticks() {
            let y = plot.y(value);
            plot.drawing.line((Self::LEFT, y), (Self::RIGHT, y), "#ddd");
            plot.drawing.text(Self::LEFT - 6.0, y + 4.0, "end", &short(value));
        }
        let bottom = plot.bottom();
        for value in x_axis.ticks() {
            let x = plot.x(value);
            plot.drawing.line((x, bottom), (x, bottom + 5.0), "#333");
            plot.drawing.text(x, bottom + 20.0, "middle", &short(value));
        }
        plot.drawing.line((Self::LEFT, bottom), (Self::RIGHT, bottom), "#333");
        plot.drawing.text(Self::RIGHT, bottom + 38.0, "end", x_label);
        plot.drawing.height = bottom + 52.0;
        plot
    }

    fn bottom(&self) -> f64 {
        self.top + Self::HEIGHT
    }

    fn x(&self, value: f64) -> f64 {
        Self::LEFT + self.axes.0.place(value) * (Self::RIGHT - Self::LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.axes.1.place(value) * Self::HEIGHT
    }

    fn line(&mut self, points: &[(f64, f64)], color: &str) {
        let place = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.x(x), self.y(y));
        let path = points.iter().map(place).collect::<Vec<_>>().join(" ");
        self.drawing.add(format_args!(r#"<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#));
    }

    fn dots(&mut self, points: &[(f64, f64)], color: &str) {
        for &(x, y) in points {
            let (x, y) = (self.x(x), self.y(y));
            self.drawing.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#));
        }
    }

    /// A word beside a point, on the side where there is room.
    fn label(&mut self, (x, y): (f64, f64), text: &str) {
        let (x, y) = (self.x(x), self.y(y));
        let is_left = x < (Self::LEFT + Self::RIGHT) / 2.0;
        let (x, anchor) = if is_left { (x + 6.0, "start") } else { (x - 6.0, "end") };
        self.drawing.text(x, y + 4.0, anchor, text);
    }

    /// The names of the series, below.
    fn with_legend(self, series: &[Series]) -> Drawing {
        let mut drawing = self.drawing;
        for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
            let (left, top) = (Self::LEFT, drawing.height);
            drawing.add(format_args!(r#"<rect x="{left}" y="{top:.1}" width="14" height="10" fill="{color}"/>"#));
            drawing.text(left + 20.0, top + 10.0, "start", &series.name);
            drawing.height += 20.0;
        }
        drawing
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
    fn a_roofline_has_its_roof_and_names_its_points() {
        let mut charts = Charts::default();
        let series = [(0.5, 2.0), (100.0, 9.0), (1.0, 0.0)]
            .map(|point| Series { name: format!("kernel {}", point.0), points: vec![point] });
        charts.roofline("roofline", ("flop/byte", "TFLOP/s"), Roof { slope: 4.0, ceiling: 10.0 }, &series);
        let svg = charts.to_svg("");
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (2, 1));
        assert!(svg.contains("kernel 0.5") && svg.contains("kernel 100") && !svg.contains("kernel 1<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // A point on the roof lies on it: the ridge at 2.5 flop a byte.
        let ridge = Axis::logarithmic([0.5, 100.0, 2.5].into_iter());
        assert!((ridge.place(0.1), ridge.place(100.0)) == (0.0, 1.0));
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
