-- What is used of limits, and who holds their slots. Nothing of it outlives a crash of the server: it is
-- a matter of minutes, and written with each request.

CREATE UNLOGGED TABLE limit_levels (
    key TEXT NOT NULL PRIMARY KEY,
    -- Units times milliseconds.
    debt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- When nothing is left of the debt.
    idle_at BIGINT NOT NULL
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE limit_slots (
    key TEXT NOT NULL,
    holder BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (key, holder)
) WITH (fillfactor = 50);

-- Only one at a time works on a key. All take their locks in the same order.
CREATE FUNCTION limit_lock(wish JSONB) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    number BIGINT;
BEGIN
    FOR number IN
        SELECT DISTINCT hashtextextended(key, 0)
        FROM jsonb_array_elements_text(jsonb_path_query_array(wish, '$.**.key')) AS key
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(number);
    END LOOP;
END
$$;

-- Charges with the levels that they meet, as core/src/policy/limit/rate.rs reckons them. In NUMERIC,
-- which has no largest number.
CREATE FUNCTION limit_charges(charges JSONB, moment BIGINT)
RETURNS TABLE (number BIGINT, key TEXT, units NUMERIC, capacity NUMERIC, cost NUMERIC, debt NUMERIC, at BIGINT)
LANGUAGE sql STABLE AS $$
    SELECT item.number, charge.key, charge.units, charge.units * charge.span, charge.cost * charge.span,
        greatest(coalesce(level.debt, 0)
            - greatest(moment - coalesce(level.at, moment), 0) * charge.units, 0),
        greatest(coalesce(level.at, moment), moment)
    FROM jsonb_array_elements(charges) WITH ORDINALITY AS item (value, number)
    CROSS JOIN LATERAL jsonb_to_record(item.value)
        AS charge (key TEXT, units NUMERIC, span NUMERIC, cost NUMERIC)
    LEFT JOIN limit_levels AS level ON level.key = charge.key
$$;

-- Takes all charges and seats of a wish, or none; one wish after the other. For each, the first row says
-- whether (1 or 0), and which seat is not to be had (from 0, or -1); one more row for each charge, how its
-- level is then.
CREATE FUNCTION limit_take(wishes_text TEXT) RETURNS TABLE (first BIGINT, second BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    wishes CONSTANT JSONB := wishes_text::JSONB;
    wish JSONB;
    moment BIGINT;
    fits BOOLEAN;
    full_seat BIGINT;
BEGIN
    PERFORM limit_lock(wishes);
    FOR wish IN SELECT value FROM jsonb_array_elements(wishes) LOOP
        moment := (wish ->> 'now')::BIGINT;
        SELECT coalesce(bool_and(c.debt + c.cost <= c.capacity), TRUE)
        INTO fits FROM limit_charges(wish -> 'charges', moment) AS c;
        SELECT coalesce(min(item.number) - 1, -1) INTO full_seat
        FROM jsonb_array_elements(wish -> 'seats') WITH ORDINALITY AS item (value, number)
        WHERE (
            SELECT count(*) >= (item.value ->> 'limit')::BIGINT
                AND NOT coalesce(bool_or(slot.holder = (wish ->> 'holder')::BIGINT), FALSE)
            FROM limit_slots AS slot
            WHERE slot.key = item.value ->> 'key' AND slot.expires_at > moment
        );
        fits := fits AND full_seat = -1;
        IF fits THEN
            INSERT INTO limit_levels AS level (key, debt, at, idle_at)
            SELECT c.key, least(c.debt + c.cost, 9223372036854775807), c.at,
                least(c.at + ceil((c.debt + c.cost) / c.units), 9223372036854775807)
            FROM limit_charges(wish -> 'charges', moment) AS c
            ON CONFLICT ON CONSTRAINT limit_levels_pkey DO UPDATE
            SET debt = excluded.debt, at = excluded.at, idle_at = excluded.idle_at;
            INSERT INTO limit_slots AS slot (key, holder, expires_at)
            SELECT item.value ->> 'key', (wish ->> 'holder')::BIGINT, (wish ->> 'until')::BIGINT
            FROM jsonb_array_elements(wish -> 'seats') AS item (value)
            ON CONFLICT ON CONSTRAINT limit_slots_pkey DO UPDATE SET expires_at = excluded.expires_at;
        END IF;
        RETURN QUERY SELECT fits::INT::BIGINT, full_seat;
        RETURN QUERY SELECT c.debt::BIGINT, c.at
        FROM limit_charges(wish -> 'charges', moment) AS c ORDER BY c.number;
    END LOOP;
END
$$;

-- Corrects charges and gives slots back.
CREATE FUNCTION limit_settle(ends_text TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    ends CONSTANT JSONB := ends_text::JSONB;
    one JSONB;
    moment BIGINT;
BEGIN
    PERFORM limit_lock(ends);
    FOR one IN SELECT value FROM jsonb_array_elements(ends) LOOP
        moment := (one ->> 'now')::BIGINT;
        INSERT INTO limit_levels AS level (key, debt, at, idle_at)
        SELECT c.key, least(greatest(c.debt + c.cost - c.reserved, 0), 9223372036854775807), c.at,
            least(c.at + ceil(greatest(c.debt + c.cost - c.reserved, 0) / c.units), 9223372036854775807)
        FROM (
            SELECT charge.*,
                (item.value ->> 'reserved')::NUMERIC * (item.value ->> 'span')::NUMERIC AS reserved
            FROM limit_charges(one -> 'charges', moment) AS charge
            JOIN jsonb_array_elements(one -> 'charges') WITH ORDINALITY AS item (value, number)
                ON item.number = charge.number
        ) AS c
        ON CONFLICT ON CONSTRAINT limit_levels_pkey DO UPDATE
        SET debt = excluded.debt, at = excluded.at, idle_at = excluded.idle_at;
        DELETE FROM limit_slots AS slot USING jsonb_array_elements(one -> 'seats') AS item (value)
        WHERE slot.key = item.value ->> 'key' AND slot.holder = (one ->> 'holder')::BIGINT;
    END LOOP;
END
$$;
