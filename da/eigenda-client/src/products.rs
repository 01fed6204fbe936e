//! The sum of the products of points and numbers: nearly all of the time that a commitment takes.
//!
//! It is Pippenger's way. Numbers are cut into windows of some bits, whose digits are taken with a sign; within a window the points
//! of one digit are added up, and the sums, weighted with their digits, give the window's. What is of its own here is how points
//! are added: in pairs, of all digits at once, until each digit has one left. A round of pairs needs one inversion together, so
//! points stay in affine coordinates, where an addition takes 6 multiplications of the field (3 of them for the share in the
//! inversion) instead of 10.

use ark_bn254::{Fq, Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, VariableBaseMSM};
use ark_ff::{AdditiveGroup, Field, PrimeField, batch_inversion};
#[cfg(feature = "parallel")]
use rayon::prelude::*;

/// Bits of a number, and one for the carry of the highest digit.
const NUMBER_BITS: usize = 255;
/// Limbs of a number with room for a last window that reaches beyond it.
const LIMBS: usize = 5;

/// The sum. Of more numbers or more points than of the others, the rest does not count.
pub(crate) fn sum_of_products(points: &[G1Affine], numbers: &[Fr]) -> G1Projective {
    let window = Window::for_points(points.len().min(numbers.len()));
    let shifted = numbers.iter().map(|number| window.shift(number)).collect::<Vec<_>>();
    let places = 0..window.count();
    #[cfg(feature = "parallel")]
    let sums = places.into_par_iter().map(|place| window.sum(points, &shifted, place)).collect::<Vec<_>>();
    #[cfg(not(feature = "parallel"))]
    let sums = places.map(|place| window.sum(points, &shifted, place)).collect::<Vec<_>>();
    sums.into_iter().rev().fold(G1Projective::ZERO, |mut total, sum| {
        for _ in 0..window.bits {
            total.double_in_place();
        }
        total + sum
    })
}

/// The windows that numbers are cut into.
#[derive(Clone, Copy)]
struct Window {
    bits: usize,
}

impl Window {
    /// The size with the least multiplications: 6 for each point, and 24 for each digit, in each window.
    fn for_points(points: usize) -> Self {
        let cost = |bits: &usize| NUMBER_BITS.div_ceil(*bits) * (6 * points + 18 * (1 << (bits - 1)));
        Self { bits: (2..=16).min_by_key(cost).expect("there are sizes to choose from") }
    }

    fn count(self) -> usize {
        NUMBER_BITS.div_ceil(self.bits)
    }

    /// Half of a digit's range is added in every window, so that taking it off again gives digits with a sign and no carries.
    fn shift(self, number: &Fr) -> [u64; LIMBS] {
        let mut limbs = [0; LIMBS];
        limbs[..4].copy_from_slice(&number.into_bigint().0);
        for place in 0..self.count() {
            let at = place * self.bits + self.bits - 1;
            let (mut limb, mut add) = (at / 64, 1 << (at % 64));
            while add != 0 {
                let (sum, carries) = limbs[limb].overflowing_add(add);
                (limbs[limb], add, limb) = (sum, u64::from(carries), limb + 1);
            }
        }
        limbs
    }

    fn digit(self, shifted: &[u64; LIMBS], place: usize) -> i64 {
        let at = place * self.bits;
        let (limb, offset) = (at / 64, at % 64);
        let mut bits = shifted[limb] >> offset;
        if offset + self.bits > 64 {
            bits |= shifted[limb + 1] << (64 - offset);
        }
        let (range, half) = (1 << self.bits, 1 << (self.bits - 1));
        (bits & (range - 1)).cast_signed() - half
    }

    /// The sum of the points, each times its digit in this window.
    fn sum(self, points: &[G1Affine], shifted: &[[u64; LIMBS]], place: usize) -> G1Projective {
        let digits = points.iter().zip(shifted).map(|(point, number)| match point.xy() {
            Some((x, y)) => (Point { x, y }, self.digit(number, place)),
            None => (Point { x: Fq::ZERO, y: Fq::ZERO }, 0),
        });
        let mut runs = Runs::of(digits, 1 << (self.bits - 1));
        while runs.add_pairs() {}
        runs.weighted()
    }
}

/// A finite point.
#[derive(Clone, Copy)]
struct Point {
    x: Fq,
    y: Fq,
}

impl Point {
    /// The sum of two points with other x, by the inverse of the difference of these.
    fn plus(self, other: Self, inverse: Fq) -> Self {
        let slope = (other.y - self.y) * inverse;
        let x = slope.square() - self.x - other.x;
        Self { x, y: slope * (self.x - x) - self.y }
    }

    fn affine(self) -> G1Affine {
        G1Affine::new_unchecked(self.x, self.y)
    }
}

/// Points in the order of their digits' sizes.
struct Runs {
    points: Vec<Point>,
    /// Where the points of each size begin, and how many there are; the size 1 comes first.
    runs: Vec<(usize, usize)>,
    /// What cannot be added by a slope, by size: both points have one x. It does not come about by chance.
    besides: Vec<(usize, G1Projective)>,
    /// Kept for its room.
    inverses: Vec<Fq>,
}

impl Runs {
    /// Sorts points by the sizes of their digits; those of negative ones are negated, those of zero left out.
    fn of(digits: impl Iterator<Item = (Point, i64)> + Clone, sizes: usize) -> Self {
        let size = |digit: i64| usize::try_from(digit.unsigned_abs()).expect("digits have 16 bits");
        let mut runs = vec![(0, 0); sizes];
        for (_, digit) in digits.clone().filter(|(_, digit)| *digit != 0) {
            runs[size(digit) - 1].1 += 1;
        }
        let mut begin = 0;
        for run in &mut runs {
            run.0 = begin;
            begin += run.1;
            run.1 = 0;
        }
        let mut points = vec![Point { x: Fq::ZERO, y: Fq::ZERO }; begin];
        for (point, digit) in digits.filter(|(_, digit)| *digit != 0) {
            let run = &mut runs[size(digit) - 1];
            points[run.0 + run.1] = if digit < 0 { Point { y: -point.y, ..point } } else { point };
            run.1 += 1;
        }
        Self { points, runs, besides: Vec::new(), inverses: Vec::new() }
    }

    /// Adds the points of each size in pairs. Whether there were any.
    fn add_pairs(&mut self) -> bool {
        let Self { points, runs, besides, inverses } = self;
        inverses.clear();
        for (begin, count) in runs.iter() {
            let (pairs, _) = points[*begin..begin + count].as_chunks::<2>();
            inverses.extend(pairs.iter().map(|[one, other]| other.x - one.x));
        }
        // Those of nothing stay nothing.
        batch_inversion(inverses);
        let mut next = inverses.iter();
        for (size, (begin, count)) in runs.iter_mut().enumerate() {
            let run = &mut points[*begin..*begin + *count];
            let mut left = 0;
            for pair in 0..*count / 2 {
                let (one, other) = (run[2 * pair], run[2 * pair + 1]);
                match next.next().expect("each pair has an inverse") {
                    inverse if *inverse == Fq::ZERO => besides.push((size, one.affine() + other.affine())),
                    inverse => {
                        run[left] = one.plus(other, *inverse);
                        left += 1;
                    }
                }
            }
            if *count % 2 == 1 {
                run[left] = run[*count - 1];
                left += 1;
            }
            *count = left;
        }
        !inverses.is_empty()
    }

    /// The sum of what each size has left, times the size.
    fn weighted(mut self) -> G1Projective {
        // From the highest size down, the sum of all above it is added once more at each.
        let (mut above, mut total) = (G1Projective::ZERO_BUCKET, G1Projective::ZERO_BUCKET);
        self.besides.sort_by_key(|(size, _)| *size);
        for (size, (begin, count)) in self.runs.iter().enumerate().rev() {
            if *count == 1 {
                above += self.points[*begin].affine();
            }
            while let Some((_, sum)) = self.besides.pop_if(|(of, _)| *of == size) {
                above += G1Affine::from(sum);
            }
            total += &above;
        }
        total.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ark_ec::CurveGroup;
    use proptest::prelude::*;

    use super::*;

    fn point(number: u64) -> G1Affine {
        (G1Affine::generator() * Fr::from(number)).into_affine()
    }

    fn expected(points: &[G1Affine], numbers: &[Fr]) -> G1Projective {
        points.iter().zip(numbers).map(|(point, number)| *point * number).sum()
    }

    /// Any number, and those at the edges of windows and of the field.
    fn number() -> impl Strategy<Value = Fr> {
        let edge = (0u64..254, 0u64..3, any::<bool>()).prop_map(|(power, less, negative)| {
            let number = Fr::from(2u64).pow([power]) - Fr::from(less);
            if negative { -number } else { number }
        });
        prop_oneof![any::<[u8; 32]>().prop_map(|bytes| Fr::from_le_bytes_mod_order(&bytes)), edge]
    }

    proptest! {
        #[test]
        fn the_sum_is_right_though_points_repeat_and_cancel(all in prop::collection::vec((0u64..7, any::<bool>(), number()), 0..200)) {
            let of = |(multiple, negative, _): &(u64, bool, Fr)| if *negative { -point(*multiple) } else { point(*multiple) };
            let points = all.iter().map(of).collect::<Vec<_>>();
            let numbers = all.iter().map(|(_, _, number)| *number).collect::<Vec<_>>();
            prop_assert_eq!(sum_of_products(&points, &numbers), expected(&points, &numbers));
        }

        #[test]
        fn digits_with_a_sign_give_back_the_number_in_windows_of_every_size(number in number(), bits in 2usize..=16) {
            let window = Window { bits };
            let shifted = window.shift(&number);
            let (mut sum, mut weight) = (Fr::ZERO, Fr::ONE);
            for place in 0..window.count() {
                let digit = window.digit(&shifted, place);
                prop_assert!((-(1 << (bits - 1))..1 << (bits - 1)).contains(&digit));
                sum += Fr::from(digit) * weight;
                weight *= Fr::from(1u64 << bits);
            }
            prop_assert_eq!(sum, number);
        }
    }

    #[test]
    fn as_many_points_as_make_windows_large_give_what_the_library_gives() {
        let points = (1..=3000).map(point).collect::<Vec<_>>();
        let numbers = std::iter::successors(Some(Fr::from(7u64)), |last| Some(last.square() + Fr::ONE));
        let numbers = numbers.take(points.len()).collect::<Vec<_>>();
        assert_eq!(sum_of_products(&points, &numbers), G1Projective::msm(&points, &numbers).unwrap());
        // All in one bucket, and the same point in all places.
        let same = vec![Fr::from(5u64); points.len()];
        assert_eq!(sum_of_products(&points, &same), expected(&points, &same));
        let one = vec![point(3); points.len()];
        assert_eq!(sum_of_products(&one, &numbers), expected(&one, &numbers));
    }

    #[test]
    fn what_has_no_partner_does_not_count() {
        let (points, numbers) = ([point(1), point(2)], [Fr::from(3u64), Fr::from(4u64), Fr::from(5u64)]);
        assert_eq!(sum_of_products(&points, &numbers), expected(&points, &numbers));
        assert_eq!(sum_of_products(&points, &numbers[..1]), expected(&points, &numbers[..1]));
        assert_eq!(sum_of_products(&[], &numbers), G1Projective::ZERO);
    }
}
