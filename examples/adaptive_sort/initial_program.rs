// Sorts by comparing and exchanging places, in as few steps as it can. The last pass always sorts; what comes before it only has to
// leave it little to do.

pub fn sort(slots: &mut Slots) {
    rearrange(slots);
    for start in 1..slots.len() {
        let mut at = start;
        while at > 0 && slots.less(at, at - 1) {
            slots.swap(at, at - 1);
            at -= 1;
        }
    }
}

// EVOLVE-BLOCK-START
fn rearrange(slots: &mut Slots) {
    for gap in [500] {
        for start in gap..slots.len() {
            let mut at = start;
            while at >= gap && slots.less(at, at - gap) {
                slots.swap(at, at - gap);
                at -= gap;
            }
        }
    }
}
// EVOLVE-BLOCK-END
