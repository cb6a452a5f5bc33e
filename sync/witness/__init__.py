"""The province's witness: says about a county's logs that nothing in them was ever taken back."""
