//! Charts with two logarithmic axes, as SVG.

use crate::files;
use plotters::prelude::*;
use std::path::Path;

/// A line chart with logarithmic axes.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The name of the horizontal axis.
    pub(crate) x: &'static str,
    /// The name of the vertical axis.
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<ChartLine>,
}

/// One line of a chart, and its name in the legend.
pub(crate) struct ChartLine {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The palette of Okabe and Ito (2008). Its colors are distinguishable with every kind of color vision.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

impl Chart {
    /// Writes the chart to a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| format!("cannot draw the chart {}: {error}", path.display()))?;
        files::write(path, "the chart", svg.as_bytes())
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let span = |of: fn(&(f64, f64)) -> f64| {
            let (low, high) =
                points().map(of).fold((f64::MAX, 1.0f64), |(low, high), at| (low.min(at), high.max(at)));
            // A logarithmic axis has no zero, and needs some length even for a single point.
            let low = low.min(high).max(0.1);
            low * 0.8..(high * 1.25).max(low * 2.0)
        };
        let area = SVGBackend::with_string(svg, (900, 560)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(span(|at| at.0).log_scale(), span(|at| at.1).log_scale())?;
        chart.configure_mesh().x_desc(self.x).y_desc(self.y).light_line_style(WHITE).draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.clone(), colour.stroke_width(2)).point_size(4))?
                .label(line.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
