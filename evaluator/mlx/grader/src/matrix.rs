//! Matrices of float64 in plain memory. The BLAS that MLX has on a processor is the plain one, which takes ten times as long, and GPUs of
//! Apple have no float64 at all.
#![expect(unsafe_code, reason = "matrixmultiply takes pointers and strides")]

/// Numbers row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    pub(crate) values: Vec<f64>,
}

/// A matrix as it is, or transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    rows: usize,
    columns: usize,
    /// From one row to the next, and from one column to the next.
    steps: [usize; 2],
    values: &'a [f64],
}

impl Matrix {
    /// # Panics
    /// If the numbers aren't as many as rows times columns.
    pub(crate) fn new(rows: usize, columns: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), rows * columns, "numbers of a matrix of {rows} by {columns}");
        Self { rows, columns, values }
    }

    /// Itself.
    pub(crate) fn view(&self) -> View<'_> {
        View { rows: self.rows, columns: self.columns, steps: [self.columns, 1], values: &self.values }
    }

    /// Transposed.
    pub(crate) fn t(&self) -> View<'_> {
        View { rows: self.columns, columns: self.rows, steps: [1, self.columns], values: &self.values }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// Each row changed by the same numbers, column by column.
    pub(crate) fn by_column(mut self, numbers: &[f64], change: impl Fn(f64, f64) -> f64) -> Self {
        for row in self.values.chunks_exact_mut(self.columns) {
            for (value, number) in row.iter_mut().zip(numbers) {
                *value = change(*value, *number);
            }
        }
        self
    }
}

/// `factor · left · right`, added to `sum` if there is one.
///
/// # Panics
/// If they don't fit.
pub(crate) fn product(factor: f64, left: View<'_>, right: View<'_>, sum: Option<Matrix>) -> Matrix {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(
        inner, right.rows,
        "a product of matrices of {rows} by {inner} and of {} by {columns}",
        right.rows
    );
    let kept = if sum.is_some() { 1.0 } else { 0.0 };
    let mut result = sum.unwrap_or_else(|| Matrix::new(rows, columns, vec![0.0; rows * columns]));
    assert_eq!((result.rows, result.columns), (rows, columns), "a sum of other products");
    let step = |step: usize| step as isize;
    // SAFETY: `View` and `Matrix` come only from `Matrix::new`, so their numbers are as many as rows and columns say, and the steps stay
    // within them; `result` is nobody else's.
    unsafe {
        matrixmultiply::dgemm(
            rows,
            inner,
            columns,
            factor,
            left.values.as_ptr(),
            step(left.steps[0]),
            step(left.steps[1]),
            right.values.as_ptr(),
            step(right.steps[0]),
            step(right.steps[1]),
            kept,
            result.values.as_mut_ptr(),
            step(columns),
            1,
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize) -> Matrix {
        let values =
            (0..rows * columns).map(|index| ((index * 37 + rows) % 101) as f64 / 7.0 - 6.0).collect();
        Matrix::new(rows, columns, values)
    }

    fn at(view: View<'_>, row: usize, column: usize) -> f64 {
        view.values[row * view.steps[0] + column * view.steps[1]]
    }

    #[test]
    fn a_product_is_the_sum_of_its_terms_whatever_is_transposed() {
        // Within one tile of the multiplication, over its edge, and a row alone.
        for (rows, inner, columns) in [(3, 5, 4), (70, 300, 33), (1, 17, 9)] {
            let (left, right) = (matrix(rows, inner), matrix(inner, columns));
            let (turned_left, turned_right) = (matrix(inner, rows), matrix(columns, inner));
            for left in [left.view(), turned_left.t()] {
                for right in [right.view(), turned_right.t()] {
                    let (once, before) = (product(2.0, left, right, None), matrix(rows, columns));
                    let added = product(2.0, left, right, Some(before.clone()));
                    for row in 0..rows {
                        for column in 0..columns {
                            let terms = (0..inner).map(|at_| at(left, row, at_) * at(right, at_, column));
                            let expected = 2.0 * terms.sum::<f64>();
                            let place = row * columns + column;
                            assert!((once.values[place] - expected).abs() < 1e-9, "{rows} {inner} {columns}");
                            let expected = expected + before.values[place];
                            assert!(
                                (added.values[place] - expected).abs() < 1e-9,
                                "{rows} {inner} {columns}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a product of matrices of 3 by 5 and of 4 by 2")]
    fn matrices_that_do_not_fit_are_refused() {
        product(1.0, matrix(3, 5).view(), matrix(4, 2).view(), None);
    }

    #[test]
    fn rows_change_column_by_column() {
        let changed =
            Matrix::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]).by_column(&[10.0, 100.0], |value, by| value * by);
        assert_eq!(changed.values, [10.0, 200.0, 30.0, 400.0]);
        assert_eq!(changed.rows().nth(1), Some([30.0, 400.0].as_slice()));
    }
}
