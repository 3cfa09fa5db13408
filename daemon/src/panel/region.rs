//! A part of a page with an id, that is replaced when what it shows has changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Region {
    /// Id of its element.
    pub id: String,
    /// Its element, with that of every part.
    pub html: String,
    /// What it shows, in 16 hex digits; without its parts where it has some.
    pub mark: String,
    /// Regions within it that are replaced alone.
    pub parts: Vec<Region>,
}

impl Region {
    /// A region that is replaced as a whole. `html` must begin with the element that has the id.
    pub fn whole(id: &str, html: &str) -> Self {
        Self::with_parts(id, html, Vec::new(), html)
    }

    /// A region whose `parts` are already in `html`; it is replaced itself when `frame` changed.
    pub fn with_parts(id: &str, html: &str, parts: Vec<Region>, frame: impl Hash) -> Self {
        let mark = mark(frame);
        let name = format!(r#"id="{id}""#);
        let html = html.trim().replacen(&name, &format!(r#"{name} data-h="{mark}""#), 1);
        Self { id: id.to_owned(), html, mark, parts }
    }
}

/// One element to replace, as a stream sends it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Patch {
    /// Id of the element.
    pub id: String,
    /// What it shows; the page skips what it has.
    pub h: String,
    /// The element.
    pub html: String,
    /// It has regions within, so its own mark does not tell all.
    pub whole: bool,
}

/// What a page shows, as far as is known here.
#[derive(Debug, Default)]
pub(super) struct Shown(HashMap<String, String>);

impl Shown {
    /// The page shows exactly `regions`.
    pub fn all(&mut self, regions: &[Region]) {
        for region in regions {
            self.0.insert(region.id.clone(), region.mark.clone());
            self.all(&region.parts);
        }
    }

    /// What must be replaced so that the page shows `regions`; outer ones before what is within them.
    pub fn patches(&mut self, regions: &[Region]) -> Vec<Patch> {
        let mut patches = Vec::new();
        for region in regions {
            if self.0.get(&region.id) == Some(&region.mark) {
                patches.extend(self.patches(&region.parts));
                continue;
            }
            patches.push(Patch {
                id: region.id.clone(),
                h: region.mark.clone(),
                html: region.html.clone(),
                whole: !region.parts.is_empty(),
            });
            self.all(std::slice::from_ref(region));
        }
        patches
    }
}

/// One mark for all that a page shows.
pub(super) fn revision(regions: &[Region]) -> String {
    fn marks<'a>(regions: &'a [Region], found: &mut Vec<&'a str>) {
        for region in regions {
            found.extend([region.id.as_str(), region.mark.as_str()]);
            marks(&region.parts, found);
        }
    }
    let mut found = Vec::new();
    marks(regions, &mut found);
    mark(found)
}

fn mark(of: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(cells: [&str; 2], plate: &str) -> Region {
        let part =
            |nth: usize| Region::whole(&format!("f{nth}"), &format!(r#"<a id="f{nth}">{}</a>"#, cells[nth]));
        let parts: Vec<_> = (0..2).map(part).collect();
        let html = format!(r#"<svg id="ring">{plate}{}{}</svg>"#, parts[0].html, parts[1].html);
        Region::with_parts("ring", &html, parts, plate)
    }

    #[test]
    fn one_frame_is_replaced_alone_and_a_new_plate_replaces_all() {
        let mut shown = Shown::default();
        shown.all(&[ring(["a", "b"], "plate")]);
        assert!(shown.patches(&[ring(["a", "b"], "plate")]).is_empty());

        let patches = shown.patches(&[ring(["a", "c"], "plate")]);
        assert_eq!(patches.len(), 1);
        assert_eq!((patches[0].id.as_str(), patches[0].whole), ("f1", false));
        assert!(patches[0].html.starts_with(&format!(r#"<a id="f1" data-h="{}">c"#, patches[0].h)));

        let patches = shown.patches(&[ring(["x", "y"], "other")]);
        assert_eq!(patches.len(), 1, "what is within comes along");
        assert!(patches[0].whole && patches[0].html.contains(">x</a>"));
        assert!(shown.patches(&[ring(["x", "y"], "other")]).is_empty());
    }

    #[test]
    fn a_page_that_differs_in_one_frame_has_another_revision() {
        let one = revision(&[ring(["a", "b"], "plate")]);
        assert_eq!(one, revision(&[ring(["a", "b"], "plate")]));
        assert_ne!(one, revision(&[ring(["a", "c"], "plate")]));
    }
}
