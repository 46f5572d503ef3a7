//! Corrections for looking at several candidates at once. Does not know what the p-values are of.

/// Holm's step-down adjusted p-values, in the order given: a claim at adjusted p ≤ α keeps the chance of any false
/// claim in the family at α, whatever the dependence between the candidates.
///
/// Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
/// Statistics 6.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut running = 0.0_f64;
    for (place, &index) in order.iter().enumerate() {
        let remaining = (p_values.len() - place) as f64;
        running = running.max(remaining * p_values[index]).min(1.0);
        adjusted[index] = running;
    }
    adjusted
}
