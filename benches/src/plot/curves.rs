//! A picture with two logarithmic axes, a line of marks for each collector, and a cloud of small
//! marks, for example those of single programs.

use super::axis::{Axis, number};
use super::{Area, INK, Mark, Place, TEXT, TITLE, WIDTH, picture, px, text, write};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// The picture's data.
#[derive(Clone, Debug)]
pub struct Curves {
    /// Its title.
    pub title: String,
    /// A line below the title.
    pub note: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// A value of the vertical axis that has a line and a name, for example a target.
    pub rule: Option<(f64, String)>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of marks.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// What stands for it.
    pub mark: Mark,
    /// Its points, from left to right.
    pub points: Vec<Point>,
    /// Small marks around it.
    pub cloud: Vec<(f64, f64)>,
}

/// A point of a line.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its value on the horizontal axis.
    pub x: f64,
    /// Its value on the vertical axis.
    pub y: f64,
    /// What is written beside it.
    pub label: String,
    /// Whether it is for all programs. Otherwise the mark is an outline.
    pub complete: bool,
}

/// A rectangle that a mark or a text takes.
#[derive(Clone, Debug)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Frame {
    /// That of a mark.
    fn mark((x, y): Place) -> Frame {
        let r = px(6);
        Frame { left: x - r, right: x + r, top: y - r, bottom: y + r }
    }

    /// The places of a text beside a mark, the best first.
    fn around((x, y): Place, label: &str) -> Vec<Frame> {
        // The width of a letter is a little more than half of its height.
        let (width, half) = (px(label.len() as u32 * TEXT * 11 / 20), px(TEXT / 2));
        let (right, left, middle) = (x + px(8), x - px(8) - width, x - width / 2);
        let (near, far) = (px(11), px(15));
        let places = [
            (right, y - near),
            (right, y + near),
            (left, y + near),
            (left, y - near),
            (middle, y - far),
            (middle, y + far),
            (right, y - px(24)),
            (right, y + px(24)),
            (left, y + px(24)),
            (left, y - px(24)),
            (right, y - px(37)),
            (right, y + px(37)),
            (left, y + px(37)),
            (left, y - px(37)),
        ];
        let text = |(left, y)| Frame { left, right: left + width, top: y - half, bottom: y + half };
        places.into_iter().map(text).collect()
    }

    fn meets(&self, other: &Frame) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// The sizes of parts, in pixels.
const HEIGHT: u32 = 440;
const HEAD: u32 = 82;
const FOOT: u32 = 46;
const LEFT: u32 = 62;
const RIGHT: u32 = 16;

impl Curves {
    /// Draws it.
    ///
    /// # Errors
    /// If the library that draws fails.
    pub fn draw(&self) -> Result<String> {
        picture(HEIGHT, |area| {
            self.legend(area)?;
            let (_, body) = area.split_vertically(px(HEAD));
            let range =
                |axis: &Axis| (axis.low..axis.high).log_scale().with_key_points(axis.ticks.clone());
            let mut chart = ChartBuilder::on(&body)
                .margin_right(px(RIGHT))
                .margin_top(px(4))
                .x_label_area_size(px(FOOT))
                .y_label_area_size(px(LEFT))
                .build_cartesian_2d(range(&self.x), range(&self.y))?;
            let label = |h, v| text(TEXT, INK, h, v);
            chart
                .configure_mesh()
                .set_all_tick_mark_size(px(1))
                .bold_line_style(INK.mix(0.25).stroke_width(px(1) as u32))
                .light_line_style(TRANSPARENT)
                .axis_style(INK.mix(0.6).stroke_width(px(1) as u32))
                .x_desc(&*self.x.title)
                .y_desc(&*self.y.title)
                .x_label_formatter(&|tick| number(*tick))
                .y_label_formatter(&|tick| number(*tick))
                .x_label_style(label(HPos::Center, VPos::Top))
                .y_label_style(label(HPos::Right, VPos::Center))
                .axis_desc_style(label(HPos::Center, VPos::Top))
                .draw()?;
            let at = |x: f64, y: f64| -> Place { chart.backend_coord(&(x, y)) };
            if let Some((value, name)) = &self.rule {
                let (left, right) = (at(self.x.low, *value), at(self.x.high, *value));
                let style = INK.stroke_width(px(2) as u32);
                area.draw(&PathElement::new(vec![left, right], style))?;
                write(area, name, (right.0 - px(6), right.1 - px(9)), TEXT, INK, HPos::Right)?;
            }
            for line in &self.lines {
                for (x, y) in &line.cloud {
                    line.mark.draw(area, at(*x, *y), 2.6, 0.35)?;
                }
            }
            let marks = self.lines.iter().flat_map(|line| &line.points).map(|it| at(it.x, it.y));
            let mut taken: Vec<Frame> = marks.map(Frame::mark).collect();
            for line in &self.lines {
                let points: Vec<Place> = line.points.iter().map(|it| at(it.x, it.y)).collect();
                let style = line.mark.color.stroke_width(px(2) as u32);
                area.draw(&PathElement::new(points.clone(), style))?;
                for (point, place) in line.points.iter().zip(points) {
                    let mark = if point.complete { line.mark } else { line.mark.hollow() };
                    mark.draw(area, place, 5.6, 1.0)?;
                    let free = |it: &Frame| taken.iter().all(|other| !it.meets(other));
                    let around = Frame::around(place, &point.label);
                    let beside = around.iter().find(|it| free(it)).unwrap_or(&around[0]).clone();
                    let middle = (beside.left, (beside.top + beside.bottom) / 2);
                    write(area, &point.label, middle, TEXT, line.mark.color, HPos::Left)?;
                    taken.push(beside);
                }
            }
            Ok(())
        })
    }

    fn legend(&self, area: &Area<'_>) -> Result<()> {
        write(area, &self.title, (px(12), px(16)), TITLE, INK, HPos::Left)?;
        write(area, &self.note, (px(12), px(38)), TEXT, INK, HPos::Left)?;
        let each = (WIDTH - LEFT) / (self.lines.len() as u32).max(4);
        for (i, line) in self.lines.iter().enumerate() {
            let (x, y) = (px(LEFT + 6 + each * i as u32), px(62));
            line.mark.draw(area, (x, y), 5.0, 1.0)?;
            write(area, &line.name, (x + px(12), y), TEXT, INK, HPos::Left)?;
        }
        Ok(())
    }
}
