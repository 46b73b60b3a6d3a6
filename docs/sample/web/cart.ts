/** Items of a cart, by product. */
export type Cart = Map<string, number>;

/** Merge the cart of a guest into the cart of the customer who signs in. */
export function mergeCarts(customer: Cart, guest: Cart): Cart {
  const merged = new Map(customer);
  for (const [product, count] of guest) {
    merged.set(product, Math.max(count, merged.get(product) ?? 0));
  }
  return merged;
}
