use super::rules::address_name;

#[test]
fn an_address_is_one_of_ipv4_or_a_network_of_ipv6() {
    let name = |text: &str| address_name(text.parse().unwrap());
    assert_eq!(name("203.0.113.9"), "203.0.113.9");
    assert_eq!(name("::ffff:203.0.113.9"), "203.0.113.9");
    assert_eq!(name("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert_eq!(name("2001:db8:1:2::9"), "2001:db8:1:2::/64");
    assert_eq!(name("::1"), "::/64");
}
