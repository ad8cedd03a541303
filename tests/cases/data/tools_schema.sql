create type mood as enum ('low', 'high');
create domain positive as int check (value > 0);
create type pair as (a int, b text);
create table orders (
    id int generated always as identity primary key, total numeric not null check (total > 0),
    note text default 'x', at timestamptz default now());
create table lines (
    id serial primary key, order_id int references orders (id) on delete cascade, quantity int,
    unique (order_id, quantity));
create index on orders (total) where total > 10;
create table kinds (m mood, p positive, q pair, several int[], j jsonb);
comment on table orders is 'of the shop';
comment on column orders.id is 'its number';
create function touched() returns trigger language plpgsql as 'begin return new; end';
create trigger touch before insert on orders for each row execute function touched();
alter table orders enable row level security;
create policy everything on orders using (true);
create publication changes for table lines;
create statistics both_columns on order_id, quantity from lines;
grant usage on schema hr to reader;
grant select on all tables in schema public, hr to reader;
grant select on all sequences in schema public, hr to reader;
