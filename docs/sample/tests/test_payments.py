from shop.errors import ProviderDown
from shop.payments import charge


def test_charge_queues_order_when_provider_stays_down(provider, order):
    provider.fail_with(ProviderDown, times=4)
    assert charge(provider, order) is None
    assert order.state == "unpaid"
