//! The item: its number as people compare it, and the field in which it is scanned.

use askama::Template;

use crate::panel::ask::Sheet;
use crate::panel::region::Region;
use crate::panel::scene::{Phase, Scene};
use crate::words::panel::{Panel, count};

#[derive(Template)]
#[template(path = "item.html")]
struct Card<'a> {
    w: &'static Panel,
    item: Option<Named>,
    recipe: String,
    about: String,
    change: Option<String>,
    simulated: bool,
    open: bool,
    recipes: Vec<Choice<'a>>,
}

struct Named {
    raw: String,
    grouped: String,
    checked: bool,
}

struct Choice<'a> {
    name: &'a str,
    selected: bool,
    disabled: bool,
}

/// The card, or the field where nothing is on the table.
pub(super) fn region(scene: &Scene) -> askama::Result<Region> {
    let words = scene.words();
    let session = scene.session();
    let item = session.map(|session| session.item.clone());
    let before_first = scene.phase() == Phase::ItemSet;
    let item = item.or_else(|| scene.ask.item.clone().filter(|_| before_first));
    let next = scene.recipe().map(|recipe| recipe.name.clone());
    let recipe = session.map(|session| session.recipe.clone()).or(next).unwrap_or_default();
    let known = scene.recipes.iter().find(|one| one.name == recipe);
    let about = known.map(|one| match one.about.is_empty() {
        true => count(&words.recipe_frames, one.frames),
        false => one.about.clone(),
    });
    let recipes = scene.recipes.iter().map(|one| Choice {
        name: &one.name,
        selected: one.name == recipe,
        disabled: one.frames == 0,
    });
    let card = Card {
        w: words,
        item: item.map(|raw| Named { grouped: grouped(&raw), checked: is_checked(&raw), raw }),
        about: about.unwrap_or_default(),
        change: before_first.then(|| {
            scene.ask.with(|ask| {
                ask.item = None;
                ask.sheet = Some(Sheet::Closed);
            })
        }),
        simulated: scene.status.simulated,
        open: session.is_some(),
        recipes: recipes.collect(),
        recipe: recipe.clone(),
    };
    Ok(Region::whole("item", &card.render()?))
}

/// In the groups by which people compare a number: a VIN 3-6-8, an EAN-13 1-6-6, anything else as it is.
pub(in crate::panel) fn grouped(item: &str) -> String {
    let cuts: &[usize] = match item.len() {
        17 if item.bytes().all(|byte| byte.is_ascii_alphanumeric()) => &[3, 9],
        13 if is_number(item) => &[1, 7],
        14 if is_number(item) => &[2, 8],
        _ => &[],
    };
    let (mut grouped, mut from) = (String::new(), 0);
    for cut in cuts {
        grouped.push_str(&item[from..*cut]);
        grouped.push(' ');
        from = *cut;
    }
    grouped + &item[from..]
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Its check digit is right. `false` also where a number has none.
fn is_checked(item: &str) -> bool {
    match item.len() {
        8 | 12 | 13 | 14 if is_number(item) => gtin_is_right(item),
        17 => vin_is_right(&item.to_ascii_uppercase()),
        _ => false,
    }
}

/// GS1 General Specifications, 7.9: digits weigh 3 and 1 in turn from the right, the sum ends in 0.
fn gtin_is_right(digits: &str) -> bool {
    let weighed = digits.bytes().rev().enumerate().map(|(place, digit)| {
        let weight = if place % 2 == 0 { 1 } else { 3 };
        u32::from(digit - b'0') * weight
    });
    weighed.sum::<u32>() % 10 == 0
}

/// 49 CFR 565.15: letters have values, places have weights, the ninth character is the sum modulo 11 (`X` is 10).
fn vin_is_right(vin: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |letter: char| match letter {
        '0'..='9' => letter.to_digit(10),
        'A'..='H' => Some(letter as u32 - 'A' as u32 + 1),
        'J'..='N' => Some(letter as u32 - 'J' as u32 + 1),
        'P' => Some(7),
        'R' => Some(9),
        'S'..='Z' => Some(letter as u32 - 'S' as u32 + 2),
        _ => None,
    };
    let values: Option<Vec<u32>> = vin.chars().map(value).collect();
    let Some(values) = values.filter(|values| values.len() == WEIGHTS.len()) else { return false };
    let sum: u32 = values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    let expected = char::from_digit(sum % 11, 10).unwrap_or('X');
    vin.chars().nth(8) == Some(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_people_compare_them() {
        assert_eq!(grouped("2000104820014"), "2 000104 820014");
        assert_eq!(grouped("WBA8E9C56GK646123"), "WBA 8E9C56 GK646123");
        assert_eq!(grouped("shelf 7, left"), "shelf 7, left");
        assert_eq!(grouped("ÄÖÜ-42"), "ÄÖÜ-42");
    }

    #[test]
    fn a_right_check_digit_is_known_and_a_wrong_one_is_not() {
        assert!(is_checked("4006381333931"));
        assert!(!is_checked("4006381333932"));
        assert!(is_checked("1M8GDM9AXKP042788"));
        assert!(!is_checked("1M8GDM9A1KP042788"));
        assert!(!is_checked("1M8GDM9AXKPO42788"), "a VIN has no letter O");
        assert!(!is_checked("item-1"));
    }
}
