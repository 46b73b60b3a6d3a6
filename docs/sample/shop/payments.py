"""Charge customers through the payment provider."""

import time

from shop.errors import ProviderDown


def charge(provider, order, attempts=4, first_wait_s=0.2):
    """Charge an order; retry with exponential backoff while the provider is down."""
    for attempt in range(attempts):
        try:
            return provider.charge(order.total, key=order.id)  # a key for safe retries
        except ProviderDown:
            time.sleep(first_wait_s * 2**attempt)
    queue_for_later(order)


def queue_for_later(order):
    """Keep an unpaid order; a nightly job charges it again."""
    order.state = "unpaid"
    order.save()


def refund(provider, order, amount):
    """Return money to the customer, at most what was charged."""
    if amount > order.charged:
        raise ValueError("the refund exceeds the charge")
    return provider.refund(order.charge_id, amount)


def list_unpaid(orders):
    """Return the orders that a nightly job must charge again."""
    return [order for order in orders if order.state == "unpaid"]
